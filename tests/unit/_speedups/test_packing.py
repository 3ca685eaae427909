"""Both forms write what a client would send, and leave to others what is long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import hiredis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, same
from kvserver._speedups.choice import compiled
from kvserver.formats.codec import JSONText

MOST_BYTES = 4_096
Requests = list[list[bytes]]
words = st.binary(max_size=12) | st.integers(0, 3_000).map(bytes)
requests = st.lists(st.tuples(st.just(b"NAME"), st.lists(words, max_size=4)).map(lambda pair: [pair[0], *pair[1]]), max_size=6)


@given(requests)
@example([])
@example([[b"DEL", b"k"]])
@example([[b"SET", b"k", b""]])
@example([[b"MSET", *[b"k", b"v"] * 600]])
@example([[b"SET", b"k", bytes(9)], [b"SET", b"k", bytes(10)], [b"SET", b"k", bytes(99)], [b"SET", b"k", bytes(1_024)]])
@example([[b"JSON.SET", b"k", JSONText(b"[1]")]])
def test_forms_write_what_a_client_sends(sent: Requests) -> None:
    packed = same("pack_short", sent, MOST_BYTES)
    if any(sum(map(len, request)) > MOST_BYTES for request in sent):
        assert packed is None
    else:
        assert packed == b"".join(hiredis.pack_command(tuple(request)) for request in sent)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 1, 9, 10, 99, 100, 1_023, 1_024, 9_999, 10_000, 300_000])
def test_lengths_of_every_number_of_digits_are_written(length: int) -> None:
    word = b"x" * length
    packed = same("pack_short", [[b"SET", b"key", word], [b"DEL", word]], 1 << 20)
    assert packed == b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n%b*2\r\n$3\r\nDEL\r\n%b" % ((b"$%d\r\n%b\r\n" % (length, word),) * 2)


def test_words_of_one_request_are_counted_together() -> None:
    fits = [b"SADD", b"k", bytes(4_000), bytes(91)]
    assert same("pack_short", [fits] * 3, MOST_BYTES)
    assert same("pack_short", [fits, [*fits, b"x"]], MOST_BYTES) is None


@given(requests, st.integers(0, (1 << 63) - 1))
@example([], 0)
@example([[b"JSON.SET", b"k", JSONText(b"[1]")]], 1_700_000_000_000)
def test_record_is_a_header_a_time_and_the_requests(sent: Requests, time_ms: int) -> None:
    record = same("encode_short", sent, time_ms, MOST_BYTES)
    packed = same("pack_short", sent, MOST_BYTES)
    payload = packed and b"#EXACT:%d\r\n%b" % (time_ms, packed)
    if payload and len(payload) <= MOST_BYTES:
        assert record == b"KVJ2%012d%08x%b" % (len(payload), crc32(payload), payload)
    else:
        assert record is None or not sent


def test_record_of_just_so_many_bytes_is_encoded() -> None:
    overhead = len(b"#EXACT:1\r\n*2\r\n$3\r\nDEL\r\n$4050\r\n\r\n")
    fits = bytes(MOST_BYTES - overhead)
    assert same("encode_short", [[b"DEL", fits]], 1, MOST_BYTES)
    assert same("encode_short", [[b"DEL", fits + b"x"]], 1, MOST_BYTES) is None
    assert same("encode_short", [[b"DEL", fits]] * 2, 1, MOST_BYTES) is None


@each_form("encode_short")
def test_all_that_is_encoded_is_freed(leaf: Callable[..., bytes | None]) -> None:
    short, long = [[b"SET", b"key", b"value"]] * 10, [[b"SET", b"key", b"value"], [b"DEL", bytes(9_000)]]
    assert_frees_all(lambda: (leaf(short, 1, MOST_BYTES), leaf(long, 1, MOST_BYTES)), short, long, short[0], *short[0])


@each_form("pack_short")
def test_all_is_freed(leaf: Callable[..., bytes | None]) -> None:
    short, long = [[b"SET", b"key", b"value"]] * 10, [[b"SET", b"key", b"value"], [b"DEL", bytes(9_000)]]
    assert_frees_all(lambda: (leaf(short, MOST_BYTES), leaf(long, MOST_BYTES)), short, long, short[0], *short[0])


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ([],),
        ((), 1),
        ([], b""),
        ([], 1 << 70),
        ([(b"a",)], 9),
        ([["a"]], 9),
        ([[b"a", None]], 9),
        ([[bytearray()]], 9),
    ],
)
def test_what_is_no_request_is_refused(arguments: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises((TypeError, OverflowError)):
        compiled.pack_short(*arguments)
    with pytest.raises((TypeError, OverflowError)):
        compiled.encode_short(*arguments[:1], 1, *arguments[1:])


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize("time_ms", [-1, 1 << 63, b"1", None])
def test_what_is_no_time_is_refused(time_ms: Any) -> None:
    assert compiled
    with pytest.raises((TypeError, ValueError, OverflowError)):
        compiled.encode_short([], time_ms, MOST_BYTES)
