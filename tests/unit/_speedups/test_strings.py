"""Both forms of what reads and writes strings reply, store and note the same, also where the digest of keys is another one."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import compiled
from kvserver._speedups.strings import Digest, Shards
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


@given(st.dictionaries(keys, values), st.lists(keys), st.integers(1, 5), digests)
@example({b"k": b"x" * 39, b"key:1": b"x" * 40}, [b"k", b"", b"key:1", b"k"], 3, hash)
@example({b"%d" % number: b"x" * 39 for number in range(999)}, [b"%d" % number for number in range(1_000)], 5, hash)
def test_forms_of_gets_agree(members: dict[bytes, Any], asked: list[bytes], count: int, digest: Digest) -> None:
    shards = filled(count, digest, members)
    replies, done, missed = [], 0, 0
    for key in asked:
        value = members.get(key)
        if value is not None and (type(value) is not bytes or len(value) >= len(HEADERS)):
            break
        replies.append(NULL if value is None else b"$%d\r\n%b\r\n" % (len(value), value))
        done += 1
        missed += value is None
    used = {digest(key) % count for key in asked[: done + 1]}
    for form in forms("get_replies").values():
        by_shard = [0] * count
        found = form(shards, digest, by_shard, NOW, [[b"GET", key] for key in asked], NULL, HEADERS)
        assert found == (b"".join(replies), done, missed)
        assert by_shard == [NOW if index in used else 0 for index in range(count)]
    assert shards == filled(count, digest, members)


@given(st.dictionaries(keys, values), st.lists(st.tuples(keys, st.binary(max_size=45))), st.integers(1, 5), digests)
def test_forms_of_sets_agree(members: dict[bytes, Any], stored: list[tuple[bytes, bytes]], count: int, digest: Digest) -> None:
    requests = [[b"SET", key, value] for key, value in stored]
    for form in forms("set_all").values():
        shards, by_shard = filled(count, digest, members), [0] * count
        form(shards, digest, by_shard, NOW, requests)
        expected = filled(count, digest, members | dict(stored))
        assert shards == expected
        assert [list(shard) for shard in shards] == [list(shard) for shard in expected]
        assert by_shard == [NOW if index in {digest(key) % count for key, _ in stored} else 0 for index in range(count)]


def test_long_replies_are_whole() -> None:
    shards = filled(7, hash, {b"%d" % number: b"x" * number for number in range(4_000)})
    headers = [b"$%d\r\n" % length for length in range(4_000)]
    replies, done, missed = same(
        "get_replies", shards, hash, [0] * 7, NOW, [[b"GET", b"%d" % number] for number in range(4_000)], NULL, headers
    )
    assert (done, missed) == (4_000, 0)
    assert replies == b"".join(b"$%d\r\n%b\r\n" % (length, b"x" * length) for length in range(4_000))


class Tampering:
    """A digest that has the lists shrink which it is asked for."""

    def __init__(self, *lists: list[Any]) -> None:
        self.lists = lists
        self.left = 3

    def __call__(self, key: bytes) -> int:
        self.left -= 1
        if not self.left:
            for each in self.lists:
                each.clear()
        return 1


class Closing:
    """A value that empties a list when it is freed."""

    def __init__(self, requests: list[Any]) -> None:
        self.requests = requests

    def __del__(self) -> None:
        self.requests.clear()


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_lists_that_shrink_meanwhile_are_no_harm() -> None:
    assert compiled
    for place in range(4):
        shards, by_shard, requests = filled(2, hash, {}), [0, 0], [[b"SET", b"%d" % number, b"v"] for number in range(9)]
        lists: list[list[Any]] = [shards, by_shard, requests, requests[2]]
        digest = Tampering(lists[place])
        for name, more in (("set_all", ()), ("get_replies", (NULL, HEADERS))):
            digest.left = 3
            with suppress(IndexError, TypeError):
                getattr(compiled, name)(shards, digest, by_shard, NOW, requests, *more)
    requests = [[b"SET", b"k", b"v"] for _ in range(9)]
    shards = [{b"k": Closing(requests)}]
    compiled.set_all(shards, hash, [0], NOW, requests)
    assert not requests
    assert shards == [{b"k": b"v"}]


@each_form("get_replies")
def test_gets_free_all(leaf: Callable[..., Any]) -> None:
    shards = filled(3, hash, {b"k": b"v", b"l": b"x" * 39, b"o": "other"})
    by_shard, requests = [0] * 3, [[b"GET", key] for key in (b"k", b"l", b"missing", b"o")]
    held = shards[0], b"k", NOW, NULL, HEADERS[1], requests, requests[0], by_shard
    assert_frees_all(lambda: leaf(shards, hash, by_shard, NOW, requests, NULL, HEADERS), *held)
    assert_frees_all(lambda: leaf(shards, zlib.crc32, by_shard, NOW, requests, NULL, HEADERS), *held)


@each_form("set_all")
def test_sets_free_all(leaf: Callable[..., Any]) -> None:
    shards, by_shard = filled(3, hash, {}), [0] * 3
    requests = [[b"SET", b"%d" % number, b"v%d" % number] for number in range(9)]
    held = shards[0], NOW, requests, by_shard, *requests[0]
    assert_frees_all(lambda: leaf(shards, hash, by_shard, NOW, requests), *held)
    # Two times, in turn, so that the old one is freed.
    times = itertools.cycle([NOW, NOW + 1])
    assert_frees_all(lambda: leaf(shards, hash, by_shard, next(times), requests), *held)


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


@given(st.dictionaries(keys, numbers), st.lists(keys), st.integers(1, 5), digests)
@example({b"%d" % number: b"9" * 18 for number in range(900)}, [b"%d" % number for number in range(1_000)], 5, hash)
def test_forms_of_increments_agree(members: dict[bytes, Any], asked: list[bytes], count: int, digest: Digest) -> None:
    expected, replies, records = dict(members), [], []
    for key in asked:
        value = expected.get(key, b"0")
        if type(value) is not bytes or not value.isdigit() or (key in expected and value[:1] == b"0") or len(value) > 18:
            break
        expected[key] = b"%d" % (int(value) + 1)
        replies.append(b":%b\r\n" % expected[key])
        records.append([b"SET", key, expected[key]])
    used = {digest(key) % count for key in asked[: len(records) + 1]}
    for form in forms("increment_all").values():
        shards, by_shard = filled(count, digest, members), [0] * count
        found = form(shards, digest, by_shard, NOW, [[b"INCR", key] for key in asked], b"SET")
        assert found == (b"".join(replies), records)
        assert shards == filled(count, digest, expected)
        assert by_shard == [NOW if index in used else 0 for index in range(count)]


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_what_has_run_before_a_failure_is_told() -> None:
    assert compiled
    shards: Shards = [{}]
    requests: list[Any] = [[b"INCR", b"k"], [b"INCR", b"k"], [b"INCR"], [b"INCR", b"k"]]
    assert compiled.increment_all(shards, hash, [0], NOW, requests, b"SET") == (
        b":1\r\n:2\r\n",
        [[b"SET", b"k", b"1"], [b"SET", b"k", b"2"]],
    )
    assert shards == [{b"k": b"2"}]
    with pytest.raises(TypeError):
        compiled.increment_all(shards, hash, [0], NOW, requests[2:], b"SET")
    assert shards == [{b"k": b"2"}]


@each_form("increment_all")
def test_increments_free_all(leaf: Callable[..., Any]) -> None:
    shards, by_shard = filled(3, hash, {b"x": b"x"}), [0] * 3
    requests = [[b"INCR", b"key:1"], [b"INCR", b"l"], [b"INCR", b"x"]]
    held = shards[0], NOW, requests, by_shard, *requests[0], requests[0]
    assert_frees_all(lambda: leaf(shards, hash, by_shard, NOW, requests, b"SET"), *held)


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
@pytest.mark.parametrize("name", ["get_replies", "get_values", "increment_all", "set_all", "set_pairs"])
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
    # The request of those that take one, and what comes behind it.
    if name in ("get_values", "set_pairs"):
        request = arguments[4][0] if arguments[4] else ()
        # A name alone is a request that stores or finds nothing.
        arguments = (*arguments[:4], [b"A", None] if request == [b"A"] else request)
    more = {"get_replies": (NULL, HEADERS), "increment_all": (b"SET",)}.get(name, ())
    with pytest.raises(error):
        getattr(compiled, name)(*arguments, *more)
    with pytest.raises(TypeError):
        getattr(compiled, name)(*arguments[:4], *more)


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize("more", [("", HEADERS), (NULL, ()), (NULL, [None] * 40)])
def test_wrong_replies_are_refused(more: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises(TypeError):
        compiled.get_replies([{b"k": b"v"}], hash, [0], NOW, [[b"GET", b"k"]], *more)
