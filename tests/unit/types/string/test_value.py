"""Only OBJECT sees in which encoding Redis would hold a string; files, journals and readers do not."""

from __future__ import annotations

import pytest

from helpers.documents import encoded
from helpers.sessions import Server, run
from kvserver.data.entries import Entry, Expiring
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.types import TAGGED
from kvserver.types.string.value import EMBEDDED_BYTES, STRING, Embedded, Raw, as_string, embedded, raw


@pytest.mark.parametrize("string", [b"", b"12", b"text", b"\xff", b"x" * EMBEDDED_BYTES, b"x" * (EMBEDDED_BYTES + 1)])
def test_payload_does_not_tell_how_a_string_is_held(string: bytes) -> None:
    plain: dict[bytes, Entry] = {b"k": string, b"l": string, b"expiring": Expiring(string, 1_000), b"other": b"v"}
    held: dict[bytes, Entry] = {
        b"k": raw(string),
        b"l": embedded(string),
        b"expiring": Expiring(raw(string), 1_000),
        b"other": b"v",
    }
    assert encoded(held, TAGGED) == encoded(plain, TAGGED)


def test_long_string_is_held_as_itself() -> None:
    string = b"x" * (EMBEDDED_BYTES + 1)
    assert raw(string) is embedded(string) is string
    assert type(raw(string[1:])) is Raw
    assert type(embedded(string[1:])) is Embedded


def test_replay_holds_strings_as_equal_ones() -> None:
    server, again = Server(), Server()
    session = server.session()
    for words in (
        ("SET", "k", "5"),
        ("SETBIT", "k", 0, 0),
        ("APPEND", "k", "1"),
        ("RENAME", "k", "l"),
        ("INCRBYFLOAT", "m", 1),
    ):
        run(session, *words)
    for args in server.keyspace.records.take():
        run(again.session(), *args)
    assert dict(again.keyspace.members()) == dict(server.keyspace.members()) == {b"l": b"51", b"m": b"1"}


def test_bit_that_is_set_to_what_it_was_is_no_change() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "5", "PX", 100)
    server.keyspace.records.take()
    run(session, "SETBIT", "k", 0, 0)
    run(session, "BITFIELD", "k", "SET", "u8", 0, ord("5"))
    assert run(session, "OBJECT", "ENCODING", "k") == b"raw"
    assert server.keyspace.records.take() == []
    assert run(session, "PTTL", "k") == 100


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (b"12", b"int"),
        (raw(b"12"), b"raw"),
        (embedded(b"12"), b"embstr"),
        (b"012", b"embstr"),
        (b"9223372036854775808", b"embstr"),
        (b"x" * EMBEDDED_BYTES, b"embstr"),
        (b"x" * (EMBEDDED_BYTES + 1), b"raw"),
    ],
)
def test_encoding_is_what_redis_would_have(value: bytes, encoding: bytes) -> None:
    assert STRING.encoding(value) == encoding


def test_document_reads_as_the_string_of_its_text_and_nothing_else_does() -> None:
    assert as_string(JSONText(b"[1]")) == b"[1]"
    assert as_string(None) is None
    with pytest.raises(CommandError, match="WRONGTYPE"):
        as_string([b"v"])
