"""`kvserver log`, `show`, `diff`, `backup` and `restore --at`: a folder's history on the command line, and wrong words."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from helpers.histories import WrittenHistory, put
from helpers.servers import StartServer
from kvserver import KVStore, ServerFolder
from kvserver.cli.main import main
from kvserver.media.filesystem import FileSystem

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def history(tmp_path: Path) -> WrittenHistory:
    (tmp_path / "data").mkdir()
    history = WrittenHistory(tmp_path / "data")
    history.frame(1, 1_700_000_000_000, b'{"old":"0"}', 1)
    history.segment(1, (1_700_000_001_000, [put("a", "1")]), (1_700_000_002_000, [put("a", "x y"), put("b", "n" * 300)]))
    empty = b"{}"
    history.frame(2, 1_700_000_003_000, b'{"a":"x y","b":"' + b"n" * 300 + b'","old":"0"}', 3)
    history.segment(2, (1_700_000_004_000, [[b"FLUSHALL"]]))
    history.frame(3, 1_700_000_005_000, empty)
    history.segment(3, (1_700_000_006_000, [put("c", "3")]), linked=hashlib.sha256(empty).hexdigest(), is_live=True)
    history.medium.write_bytes((history.path / "0000000003-1700000005000-0.kvs").read_bytes())
    return history


def out(capsys: Captured, *words: str) -> list[str]:
    assert main(list(words)) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()


def failure(capsys: Captured, *words: str) -> str:
    assert main(list(words)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    return line


def test_log_lists_frames_and_changes(history: WrittenHistory, capsys: Captured) -> None:
    data = str(history.folder)
    frames = out(capsys, "log", data)
    assert [line[18:] for line in frames] == [
        "2023-11-14T22:13:25.000Z  0 keys, 82 bytes, any time behind it",
        "2023-11-14T22:13:23.000Z  3 keys, 408 bytes, any time behind it",
        "2023-11-14T22:13:20.000Z  1 keys, 91 bytes, any time behind it",
    ]
    assert out(capsys, "log", data, "a", "--count", "2") == [
        "2:1  2023-11-14T22:13:24.000Z  FLUSHALL",
        "1:2  2023-11-14T22:13:22.000Z  SET a 'x y'",
    ]
    [_, long] = out(capsys, "log", data, "b")
    assert long.endswith(f"SET b {'n' * 200}…")
    assert out(capsys, "show", data, frames[1].partition(" ")[0], "a") == ['"x y"']


def test_show_prints_a_moment_or_a_key_of_it(history: WrittenHistory, capsys: Captured) -> None:
    data = str(history.folder)
    assert out(capsys, "show", data, "1700000001000") == ['{"a":"1","old":"0"}']
    assert out(capsys, "show", data, "2023-11-14T22:13:21Z", "a") == ['"1"']
    assert out(capsys, "show", data, "0s") == ['{"c":"3"}']
    assert failure(capsys, "show", data, "0s", "a") == "kvserver: there is no key 'a' at that moment"
    assert "the history begins at 2023-11-14T22:13:20.000Z" in failure(capsys, "show", data, "5")
    assert "'zz' names no moment" in failure(capsys, "show", data, "zz")


def test_diff_lists_what_is_not_the_same(history: WrittenHistory, capsys: Captured) -> None:
    data = str(history.folder)
    assert out(capsys, "diff", data, "1:1", "0s") == ["removed  a", "added    c", "removed  old"]
    assert out(capsys, "diff", data, "1:1", "1:2") == ["changed  a", "added    b"]
    assert out(capsys, "diff", data, "1:1", "1:2", "b*") == ["added    b"]
    assert out(capsys, "diff", data, "1:1", "1:2", "-n", "3") == []


def test_restore_lets_a_folder_go_back_and_can_be_undone(history: WrittenHistory, capsys: Captured) -> None:
    data = str(history.folder)
    told = out(capsys, "restore", data, "--at", "(2:1")
    assert told == [f"{data} has 3 keys of 2023-11-14T22:13:23.000Z now, in place of 1"]
    with ServerFolder(data) as folder:
        assert sorted(KVStore(folder)) == ["a", "b", "old"]
    # What was newer is in the history, whose segments follow each other.
    assert out(capsys, "show", data, "3:1") == ['{"c":"3"}']
    out(capsys, "restore", data, "--at", "3:1")
    with ServerFolder(data) as folder:
        assert dict(KVStore(folder)) == {"c": "3"}


def test_restore_brings_nothing_back_that_has_expired_since(history: WrittenHistory, capsys: Captured) -> None:
    data = str(history.folder)
    brief = [b"SET", b"d", b"4", b"PXAT", b"1700000008000"]
    linked = hashlib.sha256(b"{}").hexdigest()
    history.segment(3, (1_700_000_006_000, [put("c", "3"), brief]), linked=linked, is_live=True)
    assert out(capsys, "show", data, "1700000007000", "d") == ['{"$kvs":{"expires_at_ms":1700000008000,"value":"4"}}']
    [line] = out(capsys, "restore", data, "--at", "1700000007000")
    assert line.startswith(f"{data} has 1 keys of ")
    assert out(capsys, "dump", str(history.medium)) == ['{"c":"3"}']


def test_restore_fails_with_the_folder_as_it_was(history: WrittenHistory, capsys: Captured) -> None:
    data = str(history.folder)
    before = history.medium.read_bytes()
    assert "the history has no segment 9" in failure(capsys, "restore", data, "--at", "9:1")
    assert history.medium.read_bytes() == before
    with ServerFolder(data):
        assert "is in use by another kvserver" in failure(capsys, "restore", data, "--at", "1:1")
    assert out(capsys, "show", data, "0s") == ['{"c":"3"}']


def test_server_goes_on_from_what_was_restored_without_it(
    history: WrittenHistory, capsys: Captured, start_server: StartServer
) -> None:
    # Its frame is longer than what the journal has written since the last copy.
    out(capsys, "restore", str(history.folder), "--at", "(2:1")
    options = ("--history", "99999d", "--save", "")
    with start_server(*options, directory=history.folder).connect() as wire:
        assert wire.value("GET", "a") == b"x y"
        wire.command("SET", "d", "4")
        # The journal does not lead from what was before to what was restored.
        assert wire.value("KVS.AT", "3:1", "KEYS", "*") == [b"c"]
        assert sorted(wire.value("KVS.AT", "0s", "KEYS", "*")) == [b"a", b"b", b"d", b"old"]
        assert wire.value("KVS.AT", "1700000001000", "GET", "a") == b"1"


def test_backup_copies_one_instant_of_a_folder_that_a_server_uses(
    tmp_path: Path, capsys: Captured, start_server: StartServer
) -> None:
    server = start_server("--save", "")
    with server.connect() as wire:
        wire.command("SET", "a", "1")
        wire.command("SAVE")
        wire.command("RPUSH", "l", "1", "2")
        target = str(tmp_path / "copy")
        assert out(capsys, "backup", str(server.directory), target) == [f"{target} has the 2 keys of {server.directory}"]
        assert f"{target} is there already" in failure(capsys, "backup", str(server.directory), target)
        wire.command("FLUSHALL")
    assert out(capsys, "dump", f"{target}/dump.kvs") == ['{"a":"1","l":{"$kvs":{"list":["1","2"]}}}']
    with start_server(directory=Path(target)).connect() as wire:
        assert wire.value("LRANGE", "l", 0, -1) == [b"1", b"2"]


def test_backup_that_fails_leaves_nothing_that_could_be_taken_for_one(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, target = str(tmp_path / "data"), str(tmp_path / "new")
    with ServerFolder(data) as folder:
        store = KVStore(folder)
        store["a"] = "1"
        store.shutdown()

    def fail(*_: object, **__: object) -> int:
        assert not (tmp_path / "new").exists()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(FileSystem, "write", fail)
        full.setattr(FileSystem, "append", fail)
        assert "No space left on device" in failure(capsys, "backup", data, target)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert out(capsys, "backup", data, target) == [f"{target} has the 1 keys of {data}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "new"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backup", "/nowhere", ""], "backup: an empty word names no folder"),
        (["restore", "data"], "restore: it takes the URL of an engine and a new folder, or a folder of data and --at MOMENT"),
        (["restore", "file:data"], "restore: it takes the URL of an engine and a new folder"),
        (["restore", "data", "new", "--at", "5"], "restore: it takes the URL of an engine and a new folder"),
        (["restore", "/nowhere", "--at", "5"], "restore: /nowhere is not a folder"),
        (["log", "/nowhere"], "log: /nowhere is not a folder"),
        (["show", "/nowhere", "5"], "show: /nowhere is not a folder"),
        (["diff", "/nowhere", "5", "6"], "diff: /nowhere is not a folder"),
        (["backup", "/nowhere", "new"], "backup: /nowhere is not a folder"),
        (["log", "x", "k", "--count", "-1"], "log: argument --count: it takes a number"),
        (["show", "x", "5", "-n", "1" * 10], "show: argument -n/--database: it takes a number"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], told: str, capsys: Captured) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"kvserver: {told}")
