"""The decoder: a payload is read or refused as Python's json does it, however it is cut, and in short steps."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import (
    AWKWARD_TEXTS,
    Contents,
    Place,
    as_json_text,
    encoded,
    exact,
    keys,
    place_of,
    placed,
    plain_values,
)
from kvserver.data.entries import Entry, Expiring
from kvserver.errors import PayloadInvalid
from kvserver.formats import decoder as module
from kvserver.formats.codec import JSONText
from kvserver.formats.decoder import Decoder
from kvserver.formats.tags import Mapping
from kvserver.types import PLAIN, TAGGED

Found = dict[Place, Entry]


def decoded(payload: bytes, mapping: Mapping, sizes: Iterator[int]) -> Found:
    """The members that a decoder finds in a payload that is fed in chunks of these sizes."""
    decoder = Decoder(mapping)
    found: list[tuple[Place, Entry]] = []
    position = 0
    while position < len(payload):
        size = next(sizes)
        for members in decoder.feed(payload[position : position + size]):
            found += placed(members)
        position += size
    for members in decoder.finish():
        found += placed(members)
    return dict(found)


def read_by_json(payload: bytes, mapping: Mapping) -> Found | None:
    """The members of the payload by Python's json, or None where that is no object."""
    try:
        document = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return {place_of(mapping, name): mapping.decode_entry(value) for name, value in document.items()}


def always(size: int) -> Iterator[int]:
    while True:
        yield size


def at_random(seed: int) -> Iterator[int]:
    source = random.Random(seed)
    while True:
        yield source.choice([1, 2, 3, 10, 100])


def check_decoding(payload: bytes, mapping: Mapping = PLAIN, window: int | None = None) -> None:
    """However the payload is cut, the decoder must find what json finds, or refuse what json refuses."""
    expected = read_by_json(payload, mapping)
    assert hasattr(module, "_WINDOW_BYTES")
    chunkings = {
        "whole": always(len(payload) or 1),
        "bytes": always(1),
        "sevens": always(7),
        "random": at_random(len(payload)),
    }
    with mock.patch.object(module, "_WINDOW_BYTES", window or module._WINDOW_BYTES):
        for name, sizes in chunkings.items():
            try:
                found = decoded(payload, mapping, sizes)
            except PayloadInvalid:
                assert expected is None, f"fed {name}: refused what json reads"
            else:
                assert expected is not None, f"fed {name}: took what json refuses"
                assert exact(found) == exact(expected), f"fed {name}"


windows = st.sampled_from([1, 2, 5, 16, 64, None])
mappings = st.sampled_from([PLAIN, TAGGED])
space = st.sampled_from(["", "", "", " ", "\n\t \r"])
number_texts = st.sampled_from(
    [
        "0",
        "-0",
        "-0.0",
        "1.5",
        "-12",
        "1e5",
        "1E+5",
        "1.25e-07",
        "1e999",
        "123456789012345678901234567890",
        "NaN",
        "Infinity",
        "-Infinity",
        "true",
        "false",
        "null",
    ]
)
string_texts = st.sampled_from(
    [json.dumps(text) for text in AWKWARD_TEXTS]
    + [json.dumps(text, ensure_ascii=False) for text in AWKWARD_TEXTS]
    + [r'"\",\""', r'"\\","'[:4], r'"a\\\",\"b"', r'"\ud800"', r'"\ud83c\udf88"', r'"\u0041\/"', '"a"', '"b"', '"c:{}[],"']
)


def joined(parts: list[str], opening: str, closing: str, spaces: list[str]) -> str:
    before, after, end = spaces
    return opening + ",".join(f"{before}{part}{after}" for part in parts) + end + closing


def objects(inner: st.SearchStrategy[str], max_size: int = 4) -> st.SearchStrategy[str]:
    members = st.tuples(string_texts, space, space, inner).map(lambda part: f"{part[0]}{part[1]}:{part[2]}{part[3]}")
    return st.builds(
        joined, st.lists(members, max_size=max_size), st.just("{"), st.just("}"), st.lists(space, min_size=3, max_size=3)
    )


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(joined, st.lists(inner, max_size=4), st.just("["), st.just("]"), st.lists(space, min_size=3, max_size=3))


value_texts = st.recursive(number_texts | string_texts, lambda inner: objects(inner) | arrays(inner), max_leaves=6)
object_texts = st.tuples(space, objects(string_texts, 8) | objects(value_texts, 8), space).map("".join).map(str.encode)
scraps = st.sampled_from([b" ", *rb'" { } [ ] , : \ 1 - . e N "," {}'.split(b" "), b"\0", b"\xff", b"\xc3"])


@settings(max_examples=200)
@given(object_texts, mappings, windows)
@example(b"{}", PLAIN, None)
@example(b" \n{\t} \r\n", PLAIN, 1)
@example(b'{"a":"\\",\\"","b":"1"}', PLAIN, 16)
@example(b'{"a":"1","a":2,"a":"3"}', PLAIN, 5)
@example(b'{"a":NaN,"b":[Infinity,-Infinity]}', PLAIN, 5)
@example(b'{"$kvs:gA==":{"$kvs":{"base64":"gA=="}},"$kvs":"1","$":"2"}', TAGGED, 16)
def test_object_is_read_as_json_reads_it(payload: bytes, mapping: Mapping, window: int | None) -> None:
    assert read_by_json(payload, mapping) is not None
    check_decoding(payload, mapping, window)


@settings(max_examples=200)
@given(object_texts, st.data(), windows)
def test_corrupted_object_is_read_or_refused_as_json_does(payload: bytes, data: st.DataObject, window: int | None) -> None:
    for _ in range(data.draw(st.integers(1, 2))):
        start = data.draw(st.integers(0, len(payload)))
        end = data.draw(st.integers(start, min(start + 2, len(payload))))
        payload = payload[:start] + data.draw(scraps | st.just(b"")) + payload[end:]
    check_decoding(payload, PLAIN, window)


@settings(max_examples=60)
@given(object_texts, windows)
def test_truncated_object_is_refused_at_every_length(payload: bytes, window: int | None) -> None:
    whole = payload.rstrip()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        with pytest.raises(PayloadInvalid), mock.patch.object(module, "_WINDOW_BYTES", window or module._WINDOW_BYTES):
            decoded(whole[:length], PLAIN, always(11))


@settings(max_examples=200)
@given(st.binary(max_size=30) | st.lists(scraps, max_size=12).map(b"".join), windows)
def test_any_bytes_are_read_or_refused_as_json_does(payload: bytes, window: int | None) -> None:
    check_decoding(payload, PLAIN, window)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b'"a"',
        b"1",
        b"{",
        b"}",
        b"{}}",
        b"{}{}",
        b"{},",
        b"{,}",
        b'{"a":1,}',
        b'{,"a":1}',
        b'{"a":1,,"b":2}',
        b'{"a":1 "b":2}',
        b'{"a":"1" "b":"2"}',
        b'{"a" 1}',
        b'{"a"}',
        b'{"a":}',
        b"{a:1}",
        b"{1:1}",
        b"{null:1}",
        b'{["a"]:1}',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":nan}',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'{"a":"\\u12"}',
        b'{"a":"1","b":"2",}',
        b'{"a":"1","}',
        b'{"a":"\xff"}',
        b'{"\xed\xa0\x80":1}',
        b'{"a":1}\0',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":1}' + b" " * 5_000 + b"x",
        b'{"a":"1"}' * 1_000,
        b'{"a":1' + b"0" * 5_000 + b"}",
    ],
    ids=lambda payload: repr(payload[:24]),
)
@pytest.mark.parametrize("filler", [b"", b'"k":"%b",' % (b"x" * 5_000)], ids=["short", "long"])
def test_what_is_no_object_is_refused(payload: bytes, filler: bytes) -> None:
    if payload[:1] == b"{":  # also where it does not fit into one window
        payload = b"{" + filler + payload[1:]
    assert read_by_json(payload, PLAIN) is None
    check_decoding(payload)


@pytest.mark.parametrize(
    "number", ["1.5", "-0.25", "1e5", "1E+16", "1.0e-07", "12345678901234567890", "-1", "NaN", "-Infinity", "true"]
)
@pytest.mark.parametrize("mapping", [PLAIN, TAGGED], ids=["plain", "tagged"])
def test_number_is_read_whole_wherever_the_window_ends(number: str, mapping: Mapping) -> None:
    window = module._WINDOW_BYTES
    for length in range(window - len(number) - 12, window + 2):
        payload = b'{"%b":%b,"z":"%b"}' % (b"k" * length, number.encode(), b"x" * 2 * window)
        found = decoded(payload, mapping, always(len(payload)))
        assert exact(found) == exact(read_by_json(payload, mapping)), f"a name of {length} bytes"


@settings(max_examples=25)
@given(st.lists(st.tuples(keys, plain_values), min_size=50, max_size=150))
def test_what_was_encoded_is_decoded(members: list[tuple[bytes, Entry]]) -> None:
    contents = dict(members)
    payload = encoded(contents, TAGGED)
    for size in (1 << 18, 100):
        assert exact(decoded(payload, TAGGED, always(size))) == exact(contents)


def test_members_come_in_short_steps_whatever_the_chunk() -> None:
    for value in (b"v", JSONText(b"1.5"), JSONText(b"[1]")):
        payload = encoded({b"key%06d" % number: value for number in range(20_000)}, TAGGED)
        decoder = Decoder(TAGGED)
        steps = [len(placed(members)) for members in [*decoder.feed(payload), *decoder.finish()]]
        assert sum(steps) == decoder.member_count == 20_000
        assert max(steps) < 400


def test_value_longer_than_many_chunks_is_read() -> None:
    contents: Contents = {b"a": b"x" * 3_000_000, b"b": as_json_text(["y" * 1_000_000, 1.5]), b"c": b"1"}
    payload = encoded(contents, PLAIN)
    assert exact(decoded(payload, PLAIN, always(1 << 16))) == exact(contents)


@pytest.mark.parametrize("mapping", [PLAIN, TAGGED], ids=["plain", "tagged"])
def test_nesting_is_read_or_refused_at_every_depth(mapping: Mapping) -> None:
    """A document that Python reads at the very edge of its stack must not end the process when it is written again."""
    outcomes = []
    for depth in [1, 512, *range(900, 1010), 5_000, 100_000]:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            payload = b'{"k":%b1%b}' % (opening * depth, closing * depth)
            try:
                found = decoded(payload, mapping, always(1 << 18))
            except PayloadInvalid:
                outcomes.append((depth, False))
            else:
                outcomes.append((depth, True))
                assert found == {b"k": payload[5:-1]}
    assert (512, True) in outcomes
    assert (512, False) not in outcomes
    assert (100_000, True) not in outcomes


@pytest.mark.parametrize("expires_at_ms", [9 * 10**18, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
@pytest.mark.parametrize("tag", [b'"value":"%b"', b'"value":["%b"]', b'"set":["%b"]', b'"list":["a","%b"]'])
def test_long_value_expires_within_64_bits_or_is_a_document(expires_at_ms: int, tag: bytes) -> None:
    payload = b'{"k":{"$kvs":{"expires_at_ms":%d,%b}}}' % (expires_at_ms, tag % (b"x" * 100_000))
    found = decoded(payload, TAGGED, always(1 << 14))
    assert exact(found) == exact(read_by_json(payload, TAGGED))
    assert isinstance(found[b"k"], Expiring) == (-(2**63) <= expires_at_ms < 2**63)


def test_member_count_is_that_of_the_object() -> None:
    for payload, count in ((b"{}", 0), (b'{"a":1}', 1), (b'{"a":"1","b":"2","c":"3"}', 3)):
        decoder = Decoder(PLAIN)
        assert sum(len(placed(members)) for members in [*decoder.feed(payload), *decoder.finish()]) == count
        assert decoder.member_count == count
