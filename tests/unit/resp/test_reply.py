"""Every kind of reply is encoded byte for byte as in Redis, in both protocols."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.formats.codec import JSONText
from kvserver.resp.reply import (
    BULK_HEADERS,
    CACHED_BULK_HEADERS,
    CACHED_INTEGERS,
    INTEGERS,
    JOINED_ITEMS,
    LONG_PIECE_BYTES,
    OK,
    Attributes,
    BigNumber,
    Digits,
    Error,
    Replies,
    Reply,
    SetOf,
    Simple,
    Verbatim,
    bulk,
    encode,
    encode_pieces,
    join_short,
)


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        (JSONText(b"[1]"), b"$3\r\n[1]\r\n", b"$3\r\n[1]\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (False, b":0\r\n", b"#f\r\n"),
        (1, b":1\r\n", b":1\r\n"),
        (-(2**63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (0.1, b"$19\r\n0.10000000000000001\r\n", b",0.10000000000000001\r\n"),
        (float("inf"), b"$3\r\ninf\r\n", b",inf\r\n"),
        (float("-inf"), b"$4\r\n-inf\r\n", b",-inf\r\n"),
        (float("nan"), b"$3\r\nnan\r\n", b",nan\r\n"),
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (Error("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (Verbatim(b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
        (Digits(b"1.50000000000000001"), b"$19\r\n1.50000000000000001\r\n", b",1.50000000000000001\r\n"),
        ([Digits(b"1")], b"*1\r\n$1\r\n1\r\n", b"*1\r\n,1\r\n"),
        (BigNumber(b"18446744073709551616"), b"$20\r\n18446744073709551616\r\n", b"(18446744073709551616\r\n"),
        (Replies((Attributes({b"a": [1]}), 2)), b":2\r\n", b"|1\r\n$1\r\na\r\n*1\r\n:1\r\n:2\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        ([b"a", [None, True]], b"*2\r\n$1\r\na\r\n*2\r\n$-1\r\n:1\r\n", b"*2\r\n$1\r\na\r\n*2\r\n_\r\n#t\r\n"),
        ((1, 2), b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:1\r\n:2\r\n"),
        ({b"a": 1, b"b": None}, b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$-1\r\n", b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n"),
        ({}, b"*0\r\n", b"%0\r\n"),
        ([b"a", b""], b"*2\r\n$1\r\na\r\n$0\r\n\r\n", b"*2\r\n$1\r\na\r\n$0\r\n\r\n"),
        ([b"a", Digits(b"1")], b"*2\r\n$1\r\na\r\n$1\r\n1\r\n", b"*2\r\n$1\r\na\r\n,1\r\n"),
        ([b"a", [b"b"]], b"*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", b"*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n"),
        (SetOf([b"a", b"b"]), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"~2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (SetOf(), b"*0\r\n", b"~0\r\n"),
        ({b"a": b"b"}, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"%1\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ({b"a": Digits(b"1")}, b"*2\r\n$1\r\na\r\n$1\r\n1\r\n", b"%1\r\n$1\r\na\r\n,1\r\n"),
    ],
    ids=lambda value: str(getattr(value, "wire", value)),
)
def test_reply_has_these_very_bytes(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    assert encode(reply, 2) == resp2
    assert encode(reply, 3) == resp3


replies = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def flattened(reply: Any) -> Any:
    """The part of a reply that RESP2 leaves."""
    if isinstance(reply, dict):
        return [flattened(part) for pair in reply.items() for part in pair]
    if isinstance(reply, list):
        return [flattened(part) for part in reply]
    return int(reply) if isinstance(reply, bool) else reply


@given(replies)
def test_client_reads_the_reply_that_was_meant(reply: Any) -> None:
    for protocol, expected in ((2, flattened(reply)), (3, reply)):
        reader = hiredis.Reader(notEnoughData=...)
        reader.feed(encode(reply, protocol) + b"+end\r\n")
        assert repr(reader.gets()) == repr(expected)
        assert reader.gets() == b"end"


def test_line_breaks_and_odd_bytes_of_an_error_stay_in_its_line() -> None:
    assert Error("ERR a\r\nb\n\udcff é").wire == b"-ERR a  b \xff \xc3\xa9\r\n"


def test_simple_string_is_encoded_once() -> None:
    assert Simple("PONG").wire == b"+PONG\r\n"


def test_bulk_headers_made_beforehand_are_those_of_bulk_strings() -> None:
    for length, header in enumerate(BULK_HEADERS):
        assert bulk(b"x" * length).startswith(header)
        assert header == b"$%d\r\n" % length


@given(st.lists(st.sampled_from([0, 1, 64, CACHED_BULK_HEADERS - 1, CACHED_BULK_HEADERS]), max_size=4), st.integers(0, 1))
def test_array_of_strings_is_that_of_its_strings(lengths: list[int], more: int) -> None:
    items = [b"x" * length for length in lengths] * (1 + JOINED_ITEMS * more)
    assert encode(list(items), 2) == b"*%d\r\n%b" % (len(items), b"".join(map(bulk, items)))


def test_integers_made_beforehand_are_those_that_are_sent() -> None:
    assert [encode(number, 2) for number in range(CACHED_INTEGERS)] == INTEGERS


@pytest.mark.parametrize(
    "reply", ["text", object(), {1, 2}, bytearray(b"a"), [b"a", "b"]], ids=lambda value: type(value).__name__
)
def test_what_is_no_reply_is_a_type_error(reply: Any) -> None:
    with pytest.raises(TypeError, match="no reply"):
        encode(reply, 3)


def test_pieces_are_joined_unless_they_are_long() -> None:
    long = b"x" * (LONG_PIECE_BYTES + 1)
    assert join_short([]) == []
    assert join_short([b"a", b"", b"b"]) == [b"ab"]
    joined = join_short([b"a", b"b", long, long, b"c", b"d", long])
    assert joined == [b"ab", long, long, b"cd", long]
    assert all(piece is long for piece in joined if len(piece) > 2)
    many = [b"%6d" % number for number in range(100_000)]
    joined = join_short(many)
    assert b"".join(joined) == b"".join(many)
    assert max(map(len, joined)) <= LONG_PIECE_BYTES + 6


def test_long_string_is_a_piece_of_its_reply() -> None:
    long = b"x" * (LONG_PIECE_BYTES + 1)
    replies: list[Reply] = [long, [long, b"a", {b"b": long}]]
    for reply in replies:
        for protocol in (2, 3):
            pieces = encode_pieces(reply, protocol)
            assert b"".join(pieces) == encode(reply, protocol)
            assert any(piece is long for piece in pieces)
    assert encode([long, b"a"], 2) == b"*2\r\n" + bulk(long) + bulk(b"a")
