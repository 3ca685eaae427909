"""What a source is, is told from its content and not from its name."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.frames import frame
from helpers.transfers import aof, loaded
from kvserver.errors import TransferError
from kvserver.transfer.sources import load_source

FORMS = {
    "rdb": b"REDIS0010\x00\x01a\x011\xff" + bytes(8),
    "aof": aof("SET a 1"),
    "annotated aof": b"#TS:1\r\n" + aof("SET a 1"),
    "lines": b'{"key":"a","value":"1"}\n',
    "lines behind others": b'\n \n{"key":"a","value":"1"}\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_form_is_told_from_the_content(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dump.rdb", "appendonly.aof", "x.jsonl"):
        assert list(loaded(tmp_path / name, FORMS[form]).members()) == [(0, b"a", b"1")]
    (tmp_path / "-").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FORMS[form])))
    staging, length = load_source("-")
    assert list(staging.members()) == [(0, b"a", b"1")]
    assert length == len(FORMS[form])


def test_empty_file_has_nothing(tmp_path: Path) -> None:
    assert list(loaded(tmp_path / "empty", b"").members()) == []


@pytest.mark.parametrize("data", [b"SET a 1\r\n", b"\0" * 1000, b"\x1f\x8b\x08", b"REDI", b"["])
def test_what_is_none_of_the_forms_is_told(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="it is no RDB file, no append-only file and no lines of JSON"):
        loaded(tmp_path / "x", data)


def test_file_of_our_own_is_told(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="a file of kvserver's own"):
        loaded(tmp_path / "x", frame({"a": "1"}))
