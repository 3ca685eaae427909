"""Both forms of the fast way read what the strict parser reads, and leave to it what they don't."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import compiled
from kvserver._speedups.requests import Request
from kvserver.resp.request import StrictParser

Decode = Callable[[bytes, int], tuple[list[Request], bytes]]
MANY = 1_000_000
Outcome = tuple[list[Request], str]


def pack(*arguments: bytes) -> bytes:
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in arguments)


def strict(data: bytes) -> Outcome:
    parser = StrictParser()
    found = parser.feed(data)
    while parser.has_unread:
        found += parser.feed(b"")
    return found, str(parser.failure or "")


def check(leaf: Decode, data: bytes) -> None:
    found, rest = leaf(data, MANY)
    assert data.endswith(rest)
    behind, failure = strict(rest)
    assert (found + behind, failure) == strict(data)


arguments = st.binary(max_size=6) | st.sampled_from([b"", b"\r\n", b"$1\r\n", b"*1\r\n$1\r\na\r\n", b"x" * 200, b"x" * 1_100])
sent = st.lists(arguments, min_size=1, max_size=5).map(lambda words: pack(*words))
numbers = st.integers(-2, 70).map(b"%d".__mod__) | st.sampled_from(
    [
        b"",
        b"00",
        b"01",
        b"+1",
        b" 1",
        b"1_0",
        b"-",
        b"999999999",
        b"1000000000",
        b"9223372036854775807",
        b"9" * 40,
        b"1" * 4_400,
    ]
)
ends = st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\r", b"xx", b"\0\0"])
damaged = st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from([b"*", b"$", b"+", b"", b"\r\n"]),
    numbers,
    ends,
    st.binary(max_size=3),
    ends,
)
streams = st.lists(sent | sent | damaged, max_size=8).map(b"".join)


@each_form("decode")
@settings(max_examples=150)
@given(streams, st.integers(0, 12))
@example(b"", 0)
@example(b"*", 0)
@example(b"*1\r\n$", 0)
@example(b"*1\r\n$4\r\nPING\r", 0)
@example(b"*1\r\n$4\r\nPINGxx", 0)
@example(b"*1\r\n$0\r\n\r\n", 0)
@example(b"*0\r\n*-1\r\n", 0)
@example(b"*1\r\n$-1\r\n\r\n", 0)
@example(b"*2\r\n$1\r\n$\r\n+a\r\n$0\r\n\r\n", 0)
def test_what_is_found_and_the_rest_are_what_was_sent(leaf: Decode, data: bytes, cut: int) -> None:
    check(leaf, data[: len(data) - cut])


@settings(max_examples=100)
@given(st.lists(sent, max_size=8).map(b"".join), st.binary(max_size=4))
def test_all_that_is_whole_is_found(data: bytes, more: bytes) -> None:
    assert same("decode", data, MANY) == (strict(data)[0], b"")
    found, rest = same("decode", data + b"*2\r\n$1\r\na\r\n$4\r\nabc" + more[:1], MANY)
    assert found == strict(data)[0]
    assert rest.startswith(b"*2\r\n$1\r\na")


def test_every_cut_of_a_pipeline_leaves_the_requests_before_it() -> None:
    data = pack(b"SET", b"k", b"v\r\n") + pack(b"GET", b"") + pack(b"ECHO", b"$3\r\n*1\r\n") + pack(b"x" * 600)
    for position in range(len(data)):
        for form in forms("decode").values():
            check(form, data[:position])
            check(form, data[position:])


@pytest.mark.parametrize("count", [1, 32, 33, 999, 8_191])
def test_many_arguments_are_one_request(count: int) -> None:
    words = [b"%d" % number for number in range(count)]
    assert same("decode", pack(*words) * 2, MANY) == ([words, words], b"")


@each_form("decode")
def test_long_read_of_many_requests_is_read_to_its_end(leaf: Decode) -> None:
    words = [[b"SET", b"key:%d" % number, b"v" * (number % 90)] for number in range(9_000)]
    data = b"".join(pack(*each) for each in words)
    assert leaf(data, MANY) == (words, b"")
    for most in (1, 100, 4_000):
        found, rest = leaf(data, most)
        assert most <= len(found) < most + 2_000, "in Python, the lines of some are looked for at once"
        assert (found, leaf(rest, MANY)) == (words[: len(found)], (words[len(found) :], b""))


@each_form("decode")
@pytest.mark.parametrize(
    "data",
    [
        b"*9999\r\n",
        b"*8000\r\n$1\r\na\r\n",
        b"*1\r\n$999999999\r\na\r\n",
        b"*999999999\r\n$1\r\na\r\n",
        b"*1\r\n$536870912\r\n",
    ],
)
def test_nothing_is_allocated_that_was_only_declared(leaf: Decode, data: bytes) -> None:
    leaf(data, MANY)
    tracemalloc.start()
    try:
        assert leaf(data, MANY) == ([], data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000


def test_what_is_taken_is_copied_and_not_referred_to() -> None:
    data = pack(b"SET", b"key", b"x" * 50_000)
    for form in forms("decode").values():
        (request,), rest = form(data, MANY)
        assert request == [b"SET", b"key", b"x" * 50_000]
        assert rest == b""
        assert [type(word) for word in request] == [bytes] * 3


@each_form("decode")
@pytest.mark.parametrize(
    "data", [pack(b"SET", b"key", b"value") * 20, pack(b"GET", b"k") + b"*3\r\n$1\r\na\r\n$2", b"PING\r\n", b""]
)
def test_all_is_freed(leaf: Decode, data: bytes) -> None:
    assert_frees_all(lambda: (leaf(data, MANY), leaf(data, 1)), data)


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments", [(), (b"",), ("text", 1), (None, 1), (bytearray(b"*1\r\n"), 1), (memoryview(b""), 1), (b"", b""), (b"", 1, 1)]
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises(TypeError):
        compiled.decode(*arguments)


# --- how many are alike?


names = st.sampled_from([b"GET", b"get", b"GETX", b"", b"k"])


@given(st.lists(st.lists(names, max_size=3), max_size=5), st.integers(1, 3), st.integers(0, 6))
@example([], 1, 0)
@example([[]], 1, 0)
@example([[b"GET", b"a"], [b"GET", b"b"]], 2, 0)
@example([[b"SET", b"a"], [b"GET", b"b"], [b"GET"]], 2, 1)
def test_forms_agree_on_what_is_alike(requests: list[Request], width: int, start: int) -> None:
    # Words that are equal are not always the same object.
    copies = [[bytes(bytearray(word)) for word in request] for request in requests]
    expected = 0
    for request in requests[start:]:
        if len(request) != width or request[0] != b"GET":
            break
        expected += 1
    assert same("count_alike", requests, start, b"GET", width) == same("count_alike", copies, start, b"GET", width) == expected


@each_form("count_alike")
def test_a_look_leaves_nothing(leaf: Callable[..., int]) -> None:
    requests = [[b"GET", b"k"] for _ in range(20)]
    assert_frees_all(lambda: leaf(requests, 3, b"GET", 2), requests, requests[0], requests[0][0])


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments",
    [
        ([], 0, b""), ((), 0, b"", 2), ([], 0, "", 2), ([], 0, b"", "2"), ([(b"",)], 0, b"", 1), ([], 0, b"", 1 << 70),
        ([], 1 << 70, b"", 1), ([], -1, b"", 1), ([], 0, b"", 0), ([], b"", b"", 1),
    ],
)  # fmt: skip
def test_what_is_no_request_is_not_looked_at(arguments: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises((TypeError, OverflowError, ValueError)):
        compiled.count_alike(*arguments)
