"""What is at a URL: which words are URLs, and the bytes of a frame as a file has them."""

from __future__ import annotations

import pytest

from helpers.shared_logs import Writer
from kvserver.cli.stored import is_url, open_stored, tip_of
from kvserver.errors import MediumError
from kvserver.formats.manifest import Manifest
from kvserver.media.memory_engine import open_memory_engine


@pytest.mark.parametrize("word", ["s3://bucket/prefix", "nats://a,b/name", "memory://x", "file:/data", "file:///data"])
def test_url_is_told_from_a_path(word: str) -> None:
    assert is_url(word)


@pytest.mark.parametrize("word", ["data", "./s3", "/a/b.kvs", "dump.kvs.0000000001.journal", "a:b", ""])
def test_path_is_no_url(word: str) -> None:
    assert not is_url(word)


def test_place_behind_the_snapshot_is_that_of_the_manifest() -> None:
    writer = Writer()
    writer.lead()
    writer.write("SET a 1")
    writer.snapshot({"a": "1"})
    assert tip_of(writer.stored.manifest()) == writer.tip


def test_backups_of_a_server_have_no_log() -> None:
    stored = open_stored("memory://nobody-has-written-here")
    assert stored.manifest() == Manifest()
    assert stored.has_log(Manifest())
    assert not stored.has_log(Manifest(owner="ab" * 16))
    assert not stored._replace(log=None).has_log(Manifest())
    stored.close()


def test_snapshots_may_be_elsewhere() -> None:
    writer, elsewhere = Writer(), open_memory_engine("test-stored-elsewhere")
    writer.snapshot({"a": "1"})
    elsewhere.vault.commit(writer.stored.manifest(), "")
    stored = open_stored("memory://test-stored", "memory://test-stored-elsewhere")
    assert stored.url == "memory://test-stored"
    assert stored.manifest() == writer.stored.manifest()
    stored.close()


def test_url_of_no_engine_is_told() -> None:
    with pytest.raises(MediumError, match="gopher"):
        open_stored("gopher://x/y")


def test_backups_of_a_server_are_no_snapshots_of_a_log() -> None:
    open_memory_engine("with-a-log")
    open_memory_engine("backups").vault.commit(Manifest(owner="0" * 32), "")
    with pytest.raises(MediumError, match=r"memory://backups has the backups of the server 0+, which belong to no log"):
        open_stored("memory://with-a-log", "memory://backups")
    open_stored("memory://backups").close()
