"""A stream has one form in payloads, which is read back whole and in pieces of any length; all else is a user's document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import cut_of
from helpers.long_values import CHUNK_BYTES, check_reading, decode
from helpers.sessions import Server, run
from helpers.stream_groups import some_groups
from kvserver.data.entries import Expiring
from kvserver.formats.encoder import encode
from kvserver.formats.names import name_of
from kvserver.formats.rdb import dump
from kvserver.resp.reply import OK
from kvserver.types import TAGGED
from kvserver.types.stream.frames import stream_of_json, stream_pieces
from kvserver.types.stream.group import Groups
from kvserver.types.stream.ids import FIRST, MOST, text_of
from kvserver.types.stream.stream import Stream

strings = st.binary(max_size=40) | st.sampled_from([b"", b"\0", b'"\\],[]\n', b"$kvs:", b"\xff", "é🎈".encode(), b"x" * 3_000])
rows = st.lists(st.tuples(strings, strings).map(list), min_size=1, max_size=3).map(
    lambda pairs: [word for pair in pairs for word in pair]
)
identities = st.tuples(st.integers(0, MOST), st.integers(0, MOST)) | st.just(FIRST)
counts = st.integers(0, MOST) | st.sampled_from([MOST, MOST - 1, 2**63 - 1, 2**63])


COMMANDS = [
    *["XADD k * f v", "XDEL k 0-0", "XTRIM k MAXLEN 3", "XSETID k + ENTRIESADDED 9223372036854775807", "XTRIM k MAXLEN 0"],
    *["XGROUP CREATE k a 0 ENTRIESREAD 9223372036854775807", "XGROUP CREATE k n $ ENTRIESREAD 0", "XGROUP SETID k a 0"],
    *["XREADGROUP GROUP a c STREAMS k >", "XREADGROUP GROUP a c COUNT 1 STREAMS k >", "XCLAIM k a d 0 0-0 FORCE"],
    "XSETID k 18446744073709551615 ENTRIESADDED 9223372036854775807",
]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    stream = Stream()
    for identity in sorted(draw(st.sets(identities, max_size=8))):
        stream.entries.add(identity, draw(rows), 3, 4096)
        stream.last_id = identity
    stream.last_id = max(stream.last_id, draw(identities))
    stream.added = draw(counts)
    stream.max_deleted_id = draw(identities)
    return stream


def told(stream: Any) -> Any:
    assert isinstance(stream, Stream)
    return stream.entries.range(), stream.last_id, stream.added, stream.max_deleted_id, list(stream.groups.in_order())


@settings(max_examples=40)
@given(streams())
def test_stream_is_read_back(stream: Stream) -> None:
    text = b"".join(stream_pieces(stream))
    document = {
        "added": stream.added,
        "entries": [[text_of(identity).decode(), *map(name_of, row)] for identity, row in stream.entries.range()],
        "groups": {},
        "last_id": text_of(stream.last_id).decode(),
        "max_deleted_id": text_of(stream.max_deleted_id).decode(),
    }
    assert text == json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    assert told(stream_of_json(json.loads(text))) == told(stream)
    assert told(TAGGED.decode_entry(json.loads(TAGGED.encode_entry(stream)))) == told(stream)


def payload_of(stream: Stream) -> bytes:
    return b'{"k":%b,"z":"1"}' % TAGGED.encode_entry(stream)


@settings(max_examples=60)
@given(streams(), st.integers(16, 96), st.integers(1, 60))
def test_stream_is_read_in_pieces(stream: Stream, length: int, size: int) -> None:
    check_reading(payload_of(stream), TAGGED, length, size)


@settings(max_examples=25)
@given(streams(), some_groups(), st.lists(st.sampled_from(COMMANDS), max_size=12))
def test_what_restore_and_commands_make_is_read_back(stream: Stream, groups: Groups, commands: list[str]) -> None:
    stream.groups = groups
    server = Server()
    session = server.session()
    assert run(session, "RESTORE", "k", 0, dump(stream)) == OK
    for words in commands:
        run(session, *words.split())
    made = server.keyspace.peek_live(b"k")
    assert isinstance(made, Stream)
    text = TAGGED.encode_entry(made)
    found = TAGGED.decode_entry(json.loads(text))
    assert isinstance(found, Stream)
    assert TAGGED.encode_entry(found) == text
    check_reading(payload_of(made), TAGGED, 16, 37)


def test_counts_of_a_restored_stream_wrap() -> None:
    stream = Stream()
    stream.entries.add(FIRST, [b"f", b"v"], 100, 4096)
    stream.added = MOST
    server = Server()
    session = server.session()
    assert run(session, "RESTORE", "k", 0, dump(stream)) == OK
    run(session, "XADD", "k", 5, "f", "v")
    made = server.keyspace.peek_live(b"k")
    assert told(TAGGED.decode_entry(json.loads(TAGGED.encode_entry(made)))) == told(made)
    assert told(made)[:3] == ([(FIRST, [b"f", b"v"]), ((5, 0), [b"f", b"v"])], (5, 0), 0)


SAMPLE = Stream()
for number in range(1, 6):
    SAMPLE.entries.add((number, 0), [b"f", b"value"], 100, 4096)
    SAMPLE.last_id = (number, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"added":0', '"added":-1'),
        ('"added":0', '"added":1.0'),
        ('"added":0', '"added":true'),
        ('"added":0', '"added":18446744073709551616'),
        ('"added":0,', ""),
        ('"2-0","f","value"', '"2-0","f"'),
        ('"2-0","f","value"', '"2-0","f","v","g"'),
        ('"2-0","f","value"', '"2-0"'),
        ('"2-0","f","value"', '"2","f","value"'),
        ('"2-0","f","value"', '"02-0","f","value"'),
        ('"2-0","f","value"', '"1-0","f","value"'),
        ('"2-0","f","value"', '"9-0","f","value"'),
        ('"2-0","f","value"', '"2-18446744073709551616","f","value"'),
        ('"2-0","f","value"', '"2-0","f",1'),
        ('"2-0","f","value"', '"2-0","f","$kvs:YQ=="'),
        ('["2-0","f","value"]', '"2-0"'),
        ('["2-0","f","value"]', "[]"),
        ('["2-0","f","value"]', "{}"),
        ('"2-0","f","value"', '"0-0","f","value"'),
        ('"groups":{}', '"groups":[]'),
        ('"groups":{}', '"groups":{"g":1}'),
        ('"groups":{}', '"groups":{},"x":1'),
        ('"last_id":"5-0"', '"last_id":"4-9"'),
        ('"last_id":"5-0"', '"last_id":5'),
        ('"last_id":"5-0"', '"last_id":"5"'),
        ('"max_deleted_id":"0-0"', '"max_deleted_id":"0"'),
        ('"max_deleted_id":"0-0"', '"max_deleted_id":"0-0","x":1'),
        ('"max_deleted_id":"0-0"', '"max_deleted_id":null'),
        (',"max_deleted_id":"0-0"', ""),
    ],
)
def test_what_no_stream_would_write_is_a_document(old: str, new: str) -> None:
    text = TAGGED.encode_entry(SAMPLE).decode()
    assert old in text
    changed = text.replace(old, new, 1)
    assert not isinstance(TAGGED.decode_entry(json.loads(changed)), Stream)
    for size in (1, 37, 10_000):
        check_reading(f'{{"k":{changed},"z":"1"}}'.encode(), TAGGED, 16, size)


@pytest.mark.parametrize("document", [None, [], {}, "a", 1, {"entries": []}])
def test_other_json_is_no_stream(document: Any) -> None:
    assert stream_of_json(document) is None


def test_large_one_is_written_and_read_in_short_steps() -> None:
    stream = Stream()
    for number in range(1, 4_001):
        stream.entries.add((number, number % 7), [b"field", b"value:%d" % number, b"\xff", b"\xff"], 100, 4096)
    stream.last_id = (4_000, 4_000 % 7)
    stream.added = 4_000
    pieces = list(encode([cut_of({b"k": Expiring(stream, 1_700_000_000_000)})], TAGGED))
    assert max(map(len, pieces)) < 20_000
    counts = [0]
    found: dict[bytes, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        add = type(stream.entries).add

        def counted(*args: Any) -> None:
            counts[-1] += 1
            add(*args)

        patch.setattr(type(stream.entries), "add", counted)
        for members in decode(b"".join(pieces), TAGGED, CHUNK_BYTES):
            found.update(members.get(0, ()))
            counts.append(0)
    assert told(found[b"k"].value) == told(stream)
    assert sum(counts) == 4_000
    assert max(counts) < 1_024
