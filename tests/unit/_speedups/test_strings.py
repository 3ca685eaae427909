"""Both forms of what reads and writes strings give, store and note the same, also where the digest of keys is another one."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import compiled
from kvserver._speedups.strings import MOST_REPLY_BYTES, Digest, Shards
from kvserver.formats.codec import JSONText

NULL = b"$-1\r\n"
HEADERS = [b"$%d\r\n" % length for length in range(40)]
# A time that is an object of its own.
NOW = int("1700000000123")

keys = st.sampled_from([b"", b"k", b"key:1", b"\xff\0", b"x" * 300]) | st.binary(max_size=2)
values: st.SearchStrategy[Any] = st.binary(max_size=45) | st.sampled_from([JSONText(b"1"), "h\0packed", 7, bytearray(b"v")])
digests = st.sampled_from([hash, zlib.crc32, len, lambda key: -len(key) - (1 << 61)])


def filled(count: int, digest: Digest, members: dict[bytes, Any]) -> Shards:
    shards: Shards = [{} for _ in range(count)]
    for key, value in members.items():
        shards[digest(key) % count][key] = value
    return shards


SHORT, LONG = b"x" * MOST_REPLY_BYTES, b"x" * (MOST_REPLY_BYTES + 1)
requests = st.lists(keys, max_size=4)


@given(st.none() | values | st.sampled_from([SHORT, LONG]), requests)
@example(SHORT, [b"k"])
@example(LONG, [b"k"])
def test_string_is_got(entry: Any, words: list[bytes]) -> None:
    is_usual = len(words) == 1 and (entry is None or (type(entry) is bytes and len(entry) <= MOST_REPLY_BYTES))
    assert same("get_string", entry, [b"GET", *words], None, 1) == ((entry, entry) if is_usual else None)


@given(st.none() | values, requests)
@example(b"other", [b"k", LONG])
def test_string_is_set(entry: Any, words: list[bytes]) -> None:
    found = same("set_string", entry, [b"SET", *words], None, 1)
    assert found == ((True, words[1]) if len(words) == 2 else None)
    assert found is None or all(form(entry, [b"SET", *words], None, 1)[0] is True for form in forms("set_string").values())


@given(st.dictionaries(keys, values), st.lists(st.tuples(keys, st.binary(max_size=9))), st.integers(1, 5), digests)
def test_forms_of_pairs_agree(
    members: dict[bytes, Any], stored: list[tuple[bytes, bytes]], count: int, digest: Digest
) -> None:
    request = [b"MSET", *itertools.chain.from_iterable(stored)]
    for form in forms("set_pairs").values():
        shards, by_shard = filled(count, digest, members), [0] * count
        form(shards, digest, by_shard, NOW, request)
        assert shards == filled(count, digest, members | dict(stored))
        assert by_shard == [NOW if index in {digest(key) % count for key, _ in stored} else 0 for index in range(count)]


@given(st.dictionaries(keys, values), st.lists(keys, max_size=80), st.integers(1, 5), digests)
@example({b"%d" % number: b"x" for number in range(200)}, [b"%d" % number for number in range(300)], 5, hash)
def test_forms_of_values_agree(members: dict[bytes, Any], asked: list[bytes], count: int, digest: Digest) -> None:
    shards = filled(count, digest, members)
    found = [members.get(key) for key in asked]
    is_known = all(isinstance(value, bytes | str | None) for value in found)
    expected = [value if isinstance(value, bytes) else None for value in found], found.count(None)
    for form in forms("get_values").values():
        by_shard = [0] * count
        assert form(shards, digest, by_shard, NOW, [b"MGET", *asked]) == (expected if is_known else None)
        if is_known:
            used = {digest(key) % count for key in asked}
            assert by_shard == [NOW if index in used else 0 for index in range(count)]


DIGITS = [b"1", b"9", b"99", b"0", b"-1", b"01", b"", b"1x", b"9" * 17, b"9" * 18, b"9" * 19, b"\xb2"]
numbers: st.SearchStrategy[Any] = st.sampled_from([*DIGITS, JSONText(b"1"), "1", 7])


@given(st.none() | numbers, requests)
@example(b"9" * 18, [b"k"])
def test_number_is_incremented(entry: Any, words: list[bytes]) -> None:
    found = same("increment", entry, [b"INCR", *words], None, 1)
    is_number = entry is None or (
        type(entry) is bytes and entry.isdigit() and entry[:1] != b"0" and len(entry) <= 18 and entry.isascii()
    )
    if len(words) == 1 and is_number:
        assert found == (int(entry or 0) + 1, b"%d" % (int(entry or 0) + 1))
    else:
        assert found is None


ALONE: dict[str, tuple[Any, list[bytes]]] = {
    "get_string": (b"a value", [b"GET", b"k"]),
    "set_string": (b"a value", [b"SET", b"k", b"another"]),
    "increment": (b"12345678", [b"INCR", b"k"]),
}


@pytest.mark.parametrize("name", ALONE)
def test_calls_free_all(name: str) -> None:
    entry, request = ALONE[name]
    for form in forms(name).values():
        held = entry, request, *request
        assert_frees_all(lambda form=form: form(entry, request, None, 1), *held)  # type: ignore[misc]
        assert_frees_all(lambda form=form: form(None, request, None, 1), *held)  # type: ignore[misc]
        assert_frees_all(lambda form=form: form("h\0a", request, None, 1), *held)  # type: ignore[misc]


@each_form("get_values")
def test_values_free_all(leaf: Callable[..., Any]) -> None:
    shards, by_shard = filled(3, hash, {b"k": b"value", b"l": "str", b"o": 7}), [0] * 3
    request, other = [b"MGET", b"k", b"l", b"missing"], [b"MGET", b"k", b"o"]
    held = shards[0], NOW, request, by_shard, *request, HEADERS
    assert_frees_all(lambda: leaf(shards, hash, by_shard, NOW, request), *held)
    assert_frees_all(lambda: leaf(shards, hash, by_shard, NOW, other), *held)


@each_form("set_pairs")
def test_pairs_free_all(leaf: Callable[..., Any]) -> None:
    shards, by_shard, request = filled(3, hash, {}), [0] * 3, [b"MSET", b"k", b"value", b"l", b"other"]
    held = shards[0], NOW, request, by_shard, *request
    assert_frees_all(lambda: leaf(shards, hash, by_shard, NOW, request), *held)


def fails(key: bytes) -> int:
    raise ValueError


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize("name", ["get_values", "set_pairs"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([], hash, [0], NOW, [[b"A", b"k", b"v"]]), TypeError),
        (((), hash, [0], NOW, [[b"A", b"k", b"v"]]), TypeError),
        (([{}], hash, (), NOW, [[b"A", b"k", b"v"]]), TypeError),
        (([{}], hash, [0], NOW, ()), TypeError),
        (([{}], hash, [0], NOW, [(b"A", b"k", b"v")]), TypeError),
        (([{}], hash, [0], NOW, [[b"A"]]), TypeError),
        (([{}], hash, [0], NOW, [[b"A", "k", b"v"]]), TypeError),
        (([7], hash, [0], NOW, [[b"A", b"k", b"v"]]), TypeError),
        (([{}, {}], len, [0], NOW, [[b"A", b"k", b"v"]]), IndexError),
        (([{}], fails, [0], NOW, [[b"A", b"k", b"v"]]), ValueError),
        (([{}], str, [0], NOW, [[b"A", b"k", b"v"]]), TypeError),
        (([{}], None, [0], NOW, [[b"A", b"k", b"v"]]), TypeError),
        (([{}], lambda key: 1 << 70, [0], NOW, [[b"A", b"k", b"v"]]), OverflowError),
    ],
)
def test_wrong_arguments_are_refused(name: str, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    request = arguments[4][0] if arguments[4] else ()
    # A name alone is a request that stores or finds nothing.
    arguments = (*arguments[:4], [b"A", None] if request == [b"A"] else request)
    with pytest.raises(error):
        getattr(compiled, name)(*arguments)
    with pytest.raises(TypeError):
        getattr(compiled, name)(*arguments[:4])
