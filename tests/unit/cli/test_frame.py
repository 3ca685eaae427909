"""`kvserver get` and `kvserver dump` print what a frame of a file holds, and change nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kvserver.cli.frame import data_of
from kvserver.cli.main import main
from kvserver.formats.frame import encode_frame

FIRST = b'{"a":1,"k":"v"}'
LAST = '{"$kvs:2:other":"2","a":{"$kvs":{"hash":{"f":"é"}}},"k":"v"}'.encode()
Captured = pytest.CaptureFixture[bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dump.kvs"
    path.write_bytes(encode_frame(FIRST) + encode_frame(LAST) + b"KVS1torn")
    return path


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["dump"], LAST),
        (["dump", "--frame", hashlib.sha256(FIRST).hexdigest()[:8]], FIRST),
        (["get", "a"], '{"$kvs":{"hash":{"f":"é"}}}'.encode()),
        (["get", "k"], b'"v"'),
        (["get", "other", "-n", "2"], b'"2"'),
        (["get", "a", "--frame", hashlib.sha256(FIRST).hexdigest()], b"1"),
    ],
)
def test_frame_is_printed_as_it_stands(words: list[str], printed: bytes, path: Path, capsysbinary: Captured) -> None:
    before = path.read_bytes()
    assert main([words[0], str(path), *words[1:]]) == 0
    assert capsysbinary.readouterr().out == printed + b"\n"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["get", "missing"], b"there is no key 'missing' in the frame"),
        (["dump", "--frame", "zz"], b"has 0 frames whose digest begins with zz"),
        (["dump", "--frame", "0" * 64], b"has 0 frames whose digest begins with 000"),
    ],
)
def test_what_is_not_there_is_one_line(words: list[str], told: bytes, path: Path, capsysbinary: Captured) -> None:
    assert main([words[0], str(path), *words[1:]]) == 1
    said = capsysbinary.readouterr()
    assert said.out == b""
    assert told in said.err
    assert said.err.count(b"\n") == 1


def test_data_is_that_of_the_last_valid_frame(path: Path) -> None:
    databases = data_of(str(path), "")
    assert (databases.key_count, databases[2].peek(b"other")) == (3, b"2")


@pytest.mark.parametrize("content", [b"", b"junk", encode_frame(FIRST)[:-1], encode_frame(b"[]")])
def test_file_without_a_valid_frame_is_one_line(content: bytes, tmp_path: Path, capsysbinary: Captured) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert main(["dump", str(path)]) == 1
    assert f"{path} has no valid frame: ".encode() in capsysbinary.readouterr().err
    assert main(["dump", str(tmp_path / "nowhere")]) == 1
    assert b"there is no file " in capsysbinary.readouterr().err
