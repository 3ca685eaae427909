"""The engine in a folder: its URL, its files, and what a bad folder is answered with."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.disks import Disk
from kvserver.errors import MediumError
from kvserver.formats.frame import encode_header
from kvserver.formats.manifest import BEGINNING, Manifest
from kvserver.media import folder_engine
from kvserver.media.folder_engine import open_folder_engine, open_folder_vault
from kvserver.media.shared import ABANDONED_S, Mark, Node
from kvserver.media.vault_medium import VaultMedium


def test_each_spelling_of_the_url_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = open_folder_engine("file:with space/kv%20")
    engine.log.append(b"data", Mark(1, 1, ""), BEGINNING)
    folder = tmp_path / "with space" / "kv%20"
    assert folder.stat().st_mode & 0o777 == 0o700
    for url in (f"file:{folder}", f"file://{tmp_path}/with%20space/kv%2520", f"file://localhost{folder}".replace("%", "%25")):
        other = open_folder_engine(url)
        assert (other.url, other.name) == (f"file://{folder}", "kv%20")
        assert [entry.data for entry in other.log.read(BEGINNING, 0)] == [b"data"]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("file:", "file: has no path"),
        ("file://", "file:// has no path"),
        ("file://host/path", "file://host/path names a machine"),
    ],
)
def test_url_without_a_folder_of_this_machine_is_told(url: str, line: str) -> None:
    for open_it in (open_folder_engine, open_folder_vault):
        with pytest.raises(MediumError, match=f"^{line}"):
            open_it(url)


def test_what_is_no_folder_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"somebody's")
    for path in (file, file / "below"):
        with pytest.raises(MediumError, match=r"^cannot use the directory .*: Not a directory$"):
            open_folder_engine(f"file:{path}")
    assert file.read_bytes() == b"somebody's"


def test_snapshot_is_plain_json_and_durable_before_its_name_is(tmp_path: Path) -> None:
    disk = Disk()
    vault = open_folder_vault(f"file:{tmp_path}", disk)
    writer = vault.begin()
    writer.write(b'{"k":')
    writer.write(b'"v"}')
    assert [path.name for path in tmp_path.iterdir()] == [f"{writer.name}.tmp"]
    writer.commit()
    assert json.loads((tmp_path / writer.name).read_bytes()) == {"k": "v"}
    assert [call[0] for call in disk.calls][-3:] == ["sync", "rename", "sync_folder"]
    vault.commit(Manifest(counter=1), "")
    assert [call[0] for call in disk.calls][-3:] == ["sync", "rename", "sync_folder"]
    assert json.loads((tmp_path / "manifest.json").read_bytes())["counter"] == 1


@pytest.mark.parametrize("method", ["write", "sync", "rename"])
def test_disk_that_fails_leaves_the_old_manifest_and_no_snapshot(tmp_path: Path, method: str) -> None:
    disk = Disk()
    vault = open_folder_vault(f"file:{tmp_path}", disk)
    tag = vault.commit(Manifest(counter=1), "")
    writer = vault.begin()
    disk.fail(method, errno.EIO)
    with pytest.raises(MediumError, match=r"^cannot write .*\.json: Input/output error$"):  # noqa: PT012
        writer.write(b"data")
        writer.commit()
    writer.abort()
    disk.fail(method, errno.EIO)
    with pytest.raises(MediumError, match=r"^cannot write .*/manifest\.json: Input/output error$"):
        vault.commit(Manifest(counter=2), tag)
    assert vault.manifest() == (Manifest(counter=1), tag)
    assert not list(tmp_path.glob("snapshot-*"))
    # What is left of the one that failed is in nobody's way.
    assert vault.manifest()[0] != Manifest(counter=2)
    vault.commit(Manifest(counter=2), tag)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b'{"version":2}', "its version is 2, and this program knows 1"), (b"", "it is no JSON: .*")],
    ids=["other version", "no bytes"],
)
def test_manifest_that_is_none_is_told_and_stays(tmp_path: Path, data: bytes, reason: str) -> None:
    vault = open_folder_vault(f"file:{tmp_path}")
    file = tmp_path / "manifest.json"
    file.write_bytes(data)
    with pytest.raises(MediumError, match=rf"/manifest\.json is no manifest: {reason}$"):
        vault.manifest()
    with pytest.raises(MediumError):
        vault.commit(Manifest(), "")
    assert file.read_bytes() == data


def test_names_lead_to_no_file_beside_the_snapshots(tmp_path: Path) -> None:
    folder = tmp_path / "kv"
    (tmp_path / "other.json").write_bytes(b"somebody's")
    vault = open_folder_vault(f"file:{folder}")
    vault.commit(Manifest(), "")
    for name in ("../other.json", "manifest.json", "/etc/passwd", ""):
        with pytest.raises(MediumError):
            vault.read(name, 0, 10)
        vault.remove([name])
    assert (tmp_path / "other.json").exists()
    assert (folder / "manifest.json").exists()
    with pytest.raises(MediumError):
        open_folder_engine(f"file:{folder}").presence.tell(Node("../x", "", 1, False, 0, 0))


def test_node_that_tells_nothing_for_long_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    presence = open_folder_engine(f"file:{tmp_path}").presence
    node = Node("a" * 40, "127.0.0.1", 6379, False, 1, 1)
    presence.tell(node)
    (tmp_path / "node-torn.json").write_bytes(b'{"id":')
    (tmp_path / "node-other.json").write_bytes(b'{"told_at":1e99,"other":1}')
    later = node._replace(id="b" * 40)
    told = later._asdict() | {"told_at": time.time(), "lease_ms": 3000}
    (tmp_path / f"node-{later.id}.json").write_text(json.dumps(told), encoding="utf-8")
    assert sorted(presence.nodes()) == [node, later]
    presence.leave(later.id)
    monkeypatch.setattr(folder_engine, "GONE_S", -1)
    assert presence.nodes() == []
    monkeypatch.undo()
    assert presence.nodes() == []
    presence.tell(node)
    assert presence.nodes() == [node]


UPLOADING = """
import sys
from kvserver.media.folder_engine import open_folder_vault
vault = open_folder_vault("file:" + sys.argv[1])
whole, torn = vault.begin(), vault.begin()
for writer in (whole, torn):
    writer.write(b"{}")
whole.commit()
print(whole.name, torn.name, flush=True)
sys.stdin.read()
"""


def left_by_a_kill(folder: Path) -> list[Path]:
    """The files of a process that was killed while it wrote snapshots: a whole one that nobody names, and a torn one."""
    command = [sys.executable, "-c", UPLOADING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        whole, torn = process.stdout.readline().split()
        process.kill()
    return [folder / whole, folder / f"{torn}.tmp"]


def save(medium: VaultMedium, payload: bytes) -> None:
    frame = medium.begin_frame()
    frame.write(payload)
    frame.commit(encode_header(len(payload), hashlib.sha256(payload).hexdigest()))


def test_what_a_kill_left_goes_when_it_is_old_and_nothing_else_does(tmp_path: Path) -> None:
    medium = VaultMedium(open_folder_vault(f"file:{tmp_path}"))
    save(medium, b'{"a":"1"}')
    old, new = left_by_a_kill(tmp_path), left_by_a_kill(tmp_path)
    strangers = [tmp_path / name for name in ("snapshot-mine.json", f"snapshot-{'0' * 32}.json.bak")]
    for path in strangers:
        path.write_bytes(b"somebody's")
    then = time.time() - ABANDONED_S - 60
    named = [tmp_path / frame.name for frame in medium.frames]
    for path in [*old, *named, *strangers]:
        os.utime(path, (then, then))
    save(medium, b'{"a":"2"}')
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in [*new, *named, *strangers])
    assert len(medium.read_all()) == medium.size()
