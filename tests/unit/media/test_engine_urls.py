"""The URL of an engine opens it, or is answered by one line that tells no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.s3_servers import FakeS3, S3Server
from kvserver.errors import MediumError
from kvserver.formats.manifest import BEGINNING, Manifest
from kvserver.media.engine_urls import look_at_engine, open_engine, open_vault, without_password
from kvserver.media.shared import Mark


def test_engine_has_its_own_vault_or_the_one_that_is_named() -> None:
    own = open_engine("memory://urls-own")
    tag = own.vault.commit(Manifest(counter=7), "")
    assert open_engine("memory://urls-own", "").vault.manifest() == (Manifest(counter=7), tag)
    other = open_engine("memory://urls-own", "memory://urls-snapshots")
    assert other.vault.manifest() == (None, "")
    other.vault.commit(Manifest(counter=8), "")
    assert open_vault("memory://urls-snapshots").manifest()[0] == Manifest(counter=8)
    other.log.append(b"data", Mark(1, 1, ""), BEGINNING)
    assert [entry.data for entry in own.log.read(BEGINNING, 0)] == [b"data"]
    assert other.name == own.name


def test_folder_is_an_engine_and_a_vault(tmp_path: Path) -> None:
    engine = open_engine(f"file:{tmp_path}/kv", f"FILE://{tmp_path}/snapshots")
    engine.vault.commit(Manifest(counter=1), "")
    engine.log.append(b"data", Mark(1, 1, ""), BEGINNING)
    assert open_vault(f"file:{tmp_path}/snapshots").manifest()[0] == Manifest(counter=1)
    assert open_vault(f"file:{tmp_path}/kv").manifest() == (None, "")
    engine.close()


def test_object_store_is_an_engine_and_a_vault(s3_server: S3Server) -> None:
    medium, snapshots = s3_server.url("kvserver/urls/kv"), s3_server.url("kvserver/urls/snapshots")
    engine = open_engine(medium, snapshots)
    engine.vault.commit(Manifest(counter=1), "")
    assert open_vault(snapshots).manifest()[0] == Manifest(counter=1)
    assert open_vault(medium).manifest() == (None, "")
    assert (engine.url, engine.name) == ("s3://kvserver/urls/kv", "kv")
    engine.close()


def test_store_that_pretends_is_refused_before_a_server_starts(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.ignored = {"If-Match"}
    url = server.url("bucket/kv")
    open_vault(url)
    for medium, snapshots in ((url, ""), ("memory://urls-probed", url)):
        with pytest.raises(MediumError, match="does not do what If-Match asks for"):
            open_engine(medium, snapshots)


def test_who_looks_at_a_folder_leaves_it_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "kv"
    with pytest.raises(MediumError, match=r"^cannot use the directory .*: No such file or directory$"):
        look_at_engine(f"file:{folder}")
    assert not folder.exists()
    open_vault(f"file:{folder}").commit(Manifest(counter=1), "")
    looked = look_at_engine(f"file:{folder}")
    assert looked.log.read(BEGINNING, 0) == []
    assert looked.vault.manifest()[0] == Manifest(counter=1)
    assert [path.name for path in folder.glob("log*")] == []
    engine = open_engine(f"file:{folder}")
    first = engine.log.append(b"first", Mark(1, 1, ""), BEGINNING)
    # As a power loss may leave it: the end is behind, and there is a torn entry.
    line = (folder / "log.lock").read_bytes()
    engine.log.append(b"second", Mark(1, 2, "0" * 32), first)
    (folder / "log.lock").write_bytes(line)
    (segment,) = folder.glob("log-*.entries")
    segment.write_bytes(segment.read_bytes() + b"KVE1 torn")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    looked = look_at_engine(f"file:{folder}")
    assert [entry.data for entry in looked.log.read(BEGINNING, 0)] == [b"first"]
    assert [entry.data for entry in looked.log.read(first, 0)] == [b"second"]
    for change in (lambda: looked.log.append(b"", Mark(1, 3, ""), first), lambda: looked.log.trim(first)):
        with pytest.raises(MediumError, match=r"was opened to be read$"):
            change()
    looked.close()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


WITHOUT_OBSTORE = """
import sys
sys.modules["obstore"] = None
from kvserver.errors import ExtraMissing
from kvserver.media.engine_urls import open_engine, open_vault
for open_it in (open_engine, open_vault):
    try:
        open_it("s3://bucket/kv")
    except ExtraMissing as error:
        print(error)
open_engine("memory://kv")
"""


def test_extra_that_is_missing_is_told_with_how_to_install_it() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT_OBSTORE], capture_output=True, text=True, check=True)
    assert found.stdout == "s3:// needs obstore: pip install 'kvserver[s3]'\n" * 2


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("dump.kvs", "'dump.kvs' is no URL"),
        ("", "'' is no URL"),
        ("//user:secret@host/name", "'//host/name' is no URL"),
        ("redis://user:secret@host/name", "there is no redis: of kvserver"),
        ("memory://", "'memory://' has no name: memory://NAME"),
    ],
)
def test_url_that_means_nothing_is_told_in_one_line(url: str, line: str) -> None:
    for open_it in (open_engine, open_vault):
        with pytest.raises(MediumError) as failure:
            open_it(url)
        assert line in str(failure.value)
        # That is for tests alone.
        assert url == "memory://" or "memory" not in str(failure.value)
        assert "\n" not in str(failure.value)
        assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://user:pass@word@host1:4222,host2/name?replicas=3", "nats://host1:4222,host2/name?replicas=3"),
        ("nats://token@host/name", "nats://host/name"),
        ("s3://KEY:sec/ret@bucket/prefix?region=x", "s3://bucket/prefix?region=x"),
        ("s3://bucket/prefix?region=x", "s3://bucket/prefix?region=x"),
        ("file:/data/kv", "file:/data/kv"),
    ],
)
def test_password_is_left_out(url: str, shown: str) -> None:
    assert without_password(url) == shown
