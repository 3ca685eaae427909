"""The URL of an engine opens it, or is answered by one line that tells no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvserver.errors import MediumError
from kvserver.formats.manifest import BEGINNING, Manifest
from kvserver.media.engine_urls import open_engine, open_vault, without_password
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
