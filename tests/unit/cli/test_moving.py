"""`kvserver import` and `kvserver export` say in a line what they did, and change nothing where they fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from helpers.frames import frame
from helpers.nodes import Node
from helpers.servers import ServerProcess, StartServer, kvserver_command, kvserver_environment, wait_until
from helpers.transfers import LIBRARY, aof, payload_in
from kvserver.cli.main import main

LINES = b'{"key":"a","value":"1"}\n{"key":"b","db":3,"value":"2"}\n{"key":"gone","value":"3","expires_at_ms":5}\n'


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_bytes(LINES)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_import_says_what_came_in_and_what_was_left_out(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(lines)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "left out: 1 key that has expired"
    assert out[1].startswith("imported 2 keys of 2 databases and 0 function libraries: 0.0 MB in 0.")
    assert out[1].endswith(" MB/s")
    assert payload_in(tmp_path / "kvserver-data") == b'{"$kvs:3:b":"2","a":"1"}'
    assert main(["import", str(lines)]) == 1
    assert capsys.readouterr().err == (
        "kvserver: there is a key 'a' in the database 0 already: nothing was imported; --replace replaces what is there\n"
    )
    assert main(["import", str(lines), "--replace"]) == 0


def test_databases_that_a_server_does_not_select_by_itself_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.jsonl"
    for number, told in ((15, []), (16, ["there are keys in the database 16: a server takes --databases 17 to select it"])):
        path.write_bytes(b'{"key":"a","db":%d,"value":"1"}\n' % number)
        assert main(["import", str(path), str(tmp_path / "data")]) == 0
        assert capsys.readouterr().out.splitlines()[:-1] == told


def test_torn_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof(["FUNCTION", "LOAD", LIBRARY], "SET a 1", "SET b 2")[:-1])
    assert main(["import", str(path), str(tmp_path / "data")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("left out: 26 bytes at offset ")
    assert out[1].startswith("imported 1 key of 1 database and 1 function library: ")


@pytest.mark.parametrize("name", ["new", "there"])
def test_bad_source_leaves_the_target_as_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "dump.kvs").write_bytes(b"whatever there is")
    for data in (b"nothing", LINES + b"{", aof("SET a 1") + b"x", aof("NO such"), b"REDIS0099", b"REDIS0010\xfe"):
        source = tmp_path / "source"
        source.write_bytes(data)
        assert main(["import", str(source), str(tmp_path / name)]) == 1
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert said.err.startswith(f"kvserver: {source}: ")
    assert names(tmp_path) == ["source", "there"]
    assert names(target) == ["dump.kvs"]


def test_export_is_imported_again(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(lines), str(tmp_path / "data")]) == 0
    for form in ("jsonl", "resp", "rdb"):
        file, again = tmp_path / f"out.{form}", tmp_path / form
        capsys.readouterr()
        assert main(["export", str(tmp_path / "data"), f"--{form}", str(file)]) == 0
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "exported 2 keys of 2 databases and 0 function libraries: 0.0 MB\n")
        assert main(["export", str(tmp_path / "data"), f"--{form}", str(file)]) == 1
        assert f"{file} is there already: --replace replaces it" in capsys.readouterr().err
        assert main(["export", str(tmp_path / "data"), f"--{form}", str(file), "--replace"]) == 0
        assert main(["import", str(file), str(again)]) == 0
        assert payload_in(again) == payload_in(tmp_path / "data")


def test_export_goes_to_standard_output_and_import_comes_from_standard_input(lines: Path, tmp_path: Path) -> None:
    assert main(["import", str(lines), str(tmp_path / "data")]) == 0
    command = kvserver_command("export", str(tmp_path / "data"), "--resp")
    exported = subprocess.run(command, env=kvserver_environment(), capture_output=True, check=True).stdout
    assert exported == aof("SELECT 0", "SET a 1", "SELECT 3", "SET b 2")
    command = kvserver_command("import", "-", str(tmp_path / "again"))
    subprocess.run(command, env=kvserver_environment(), input=exported, capture_output=True, check=True)
    assert payload_in(tmp_path / "again") == payload_in(tmp_path / "data")


def test_folder_of_a_running_server_is_exported_as_it_is(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--save", "", "--appendfsync", "always", directory=tmp_path / "kvserver-data")
    with server.connect() as wire:
        wire.command("SET", "a", "1")
        wire.command("SAVE")
        wire.command("SET", "b", "2")
        assert main(["export", str(tmp_path / "kvserver-data"), "--jsonl", str(tmp_path / "out")]) == 0
        assert wire.value("DBSIZE") == 2
    assert (tmp_path / "out").read_bytes().count(b"\n") == 2


def test_engine_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"file:{tmp_path / 'engine'}"
    with Node(tmp_path / "node", url) as node:
        wait_until(node.leads, "the node leads")
        assert node.once("SET", "a", "1") == b"+OK\r\n"
    assert main(["export", url, "--jsonl", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == b'{"key":"a","db":0,"type":"string","value":"1"}\n'
    assert "exported 1 key of 1 database" in capsys.readouterr().err


def test_other_name_of_the_data_file_is_taken(lines: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert main(["import", str(lines), str(folder), "--dbfilename", "other.kvs"]) == 0
    assert "other.kvs" in names(folder)
    assert "dump.kvs" not in names(folder)
    assert main(["export", str(folder), "--jsonl", str(tmp_path / "out")]) == 1
    assert main(["export", str(folder), "--jsonl", str(tmp_path / "out"), "--dbfilename", "other.kvs"]) == 0
    assert (tmp_path / "out").read_bytes().count(b"\n") == 2


def test_what_has_expired_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dump.kvs").write_bytes(frame({"a": "1", "b": {"$kvs": {"expires_at_ms": 5, "value": "2"}}}))
    assert main(["export", str(tmp_path / "data"), "--jsonl", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes().count(b"\n") == 1


def test_import_into_a_server_says_where(kvserver: ServerProcess, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"redis://127.0.0.1:{kvserver.port}"
    assert main(["import", str(lines), url]) == 0
    assert kvserver.once("GET", "a") == b"$1\r\n1\r\n"
    capsys.readouterr()
    assert main(["import", str(lines), url]) == 1
    assert f"kvserver: {url} has a key 'a' in the database 0: nothing was imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["import"], 2, "the following arguments are required: SOURCE"),
        (["import", "/nowhere"], 1, "cannot read /nowhere: No such file or directory"),
        (["import", "/dev/zero"], 1, "/dev/zero is not a regular file"),
        (["import", "/"], 1, "the folder / has no manifest"),
        (["import", os.devnull, "nats://h"], 2, "import: nats://h is neither a folder nor a server"),
        (["import", os.devnull, "redis://127.0.0.1/7"], 1, "names a database"),
        (["export"], 2, "one of the arguments --jsonl --resp --rdb is required"),
        (["export", "--jsonl", "--resp"], 2, "not allowed with argument --jsonl"),
        (["export", "/nowhere", "--jsonl"], 1, "/nowhere is not a folder of data"),
        (["export", "/usr", "--jsonl"], 1, "there is no data in /usr"),
        (["import", os.devnull, os.devnull], 1, "cannot use the directory /dev/null"),
        (["export", "--jsonl", "/"], 1, "/ is not a regular file"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert told in said.err
    assert names(tmp_path) == []
