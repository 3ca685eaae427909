"""Both forms of a run do what its calls do one by one, and tell of it, whatever the calls are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_end_of_memory, each_form, forms
from kvserver._speedups.choice import TWINS, compiled
from kvserver._speedups.runs import CALLS, READS
from kvserver._speedups.strings import MOST_REPLY_BYTES
from kvserver.containers.packed import MOST_MEMBERS
from kvserver.data.entries import Expiring
from kvserver.formats.codec import JSONText

MOST = 4
CODES = {call.__name__.encode(): code for code, call in enumerate(CALLS)}
WIDTHS = {b"set_field": 4, b"add_score": 4} | dict.fromkeys((b"pop_left", b"pop_right", b"get_string", b"increment"), 2)
NOW = int("1700000000123")
USUAL = SimpleNamespace(
    hash_max_listpack_value=64,
    hash_max_listpack_entries=512,
    zset_max_listpack_value=64,
    zset_max_listpack_entries=128,
    set_max_intset_entries=512,
)
words = st.sampled_from(
    [b"", b"a", b"aa", b"b", b"\xff", b"7", b"-7", b"x" * 64, b"\0", b"a\x01b", b"x" * 65, b"9" * 19, b"07"]
)
packable = st.sampled_from([b"", b"a", b"ab", b"\x02", b"7", b"x" * 64])
texts = st.sampled_from([b"1", b"0", b"1.5", b"-2", b"9" * 17])

NAMES = tuple(CODES)
requests = st.builds(
    lambda name, key, one, other, text, extra: (
        [name, key, *([text, one] if name == b"add_score" else [one, other])][: WIDTHS.get(name, 3)] + extra
    ),
    st.sampled_from(NAMES),
    st.sampled_from([b"k", b"l", b"\xff"]),
    words,
    packable,
    texts,
    st.sampled_from([[]] * 30 + [[b"extra"]]),
)
entries: st.SearchStrategy[Any] = st.sampled_from(
    [
        "h\0a\x011\0",
        "l\0a\0b\0",
        "l\0a\0",
        "s\0a\0",
        "i\x007\0",
        "z\0a\x011\0b\x012\0",
        b"string",
        b"",
        b"9",
        b"9" * 18,
        b"x" * MOST_REPLY_BYTES,
        b"x" * (MOST_REPLY_BYTES + 1),
        JSONText(b"1"),
        Expiring("h\0a\x011\0", NOW),
        Expiring("h\0a\x011\0", NOW + 1),
        Expiring(b"string", NOW + 1),
        Expiring(b"string", NOW),
    ]
)
digests = st.sampled_from([hash, zlib.crc32, len, lambda key: -len(key) - (1 << 61)])
NULL = b"$-1\r\n"


@given(
    st.dictionaries(st.sampled_from([b"k", b"l", b"\xff"]), entries),
    st.lists(requests, max_size=20),
    st.integers(0, 3),
    st.integers(1, 3),
    digests,
)
@example(
    {b"k": "l\0a\0"},
    [[b"pop_left", b"k"], [b"pop_left", b"k"], [b"push_left", b"k", b"b"], [b"get_field", b"k", b"b"]],
    0,
    1,
    hash,
)
@example({}, [[b"set_string", b"k", b"a"], [b"set_string", b"k", b"a"], [b"get_string", b"k"]], 0, 1, hash)
@example({b"k": b"x" * MOST_REPLY_BYTES}, [[b"get_string", b"l"]] + [[b"get_string", b"k"]] * 9, 0, 1, hash)
@example({}, [[b"increment", b"k"], [b"set_field", b"k", b"f", b"v"]], 0, 1, hash)
@example({b"k": Expiring(b"v", NOW + 1)}, [[b"get_string", b"k"], [b"set_string", b"k", b"w"]], 0, 1, hash)
@example({b"k": Expiring(b"9", NOW + 1)}, [[b"get_string", b"k"], [b"increment", b"k"]], 0, 1, hash)
@example({b"k": Expiring(b"v", NOW)}, [[b"get_string", b"k"]], 0, 1, hash)
@example({}, [[b"set_string", b"k", b"", b"extra"]], 0, 1, hash)
@example({}, [[b"other", b"k"]], 0, 1, hash)
@example({}, [[b"push_left"]], 0, 1, hash)
def test_runs_are_calls_one_by_one(
    members: dict[bytes, Any], asked: list[list[bytes]], start: int, count: int, digest: Callable[[bytes], int]
) -> None:
    expected, replies, changes, used = dict(members), [], [], set()
    hits = misses = missed_gets = done = 0
    for request in asked[start:]:
        code = CODES.get(request[0])
        if code is None or len(request) < 2:
            break
        if request[0] != b"set_string" or len(request) == 3:
            used.add(digest(request[1]) % count)
        entry = expected.get(request[1])
        if code < READS and isinstance(entry, Expiring):
            if entry.expires_at_ms <= NOW:
                break
            entry = entry.value
        found = CALLS[code](entry, request, USUAL, MOST)
        if found is None:
            break
        reply, changed = found
        if isinstance(reply, bytes):
            replies.append(b"$%d\r\n%b\r\n" % (len(reply), reply))
        else:
            replies.append(NULL if reply is None else b"+OK\r\n" if reply is True else b":%d\r\n" % reply)
        if changed is not entry or request[0] == b"set_string":
            changes.append([b"SET", request[1], changed] if request[0] == b"increment" else request)
            expected[request[1]] = changed
            if changed is None:
                del expected[request[1]]
        elif request[0] == b"get_string":
            missed_gets += entry is None
        elif code < READS:
            hits += entry is not None
            misses += entry is None
        done += 1
    for form in forms("run_calls").values():
        shards: list[dict[bytes, Any]] = [{} for _ in range(count)]
        for key, value in members.items():
            shards[digest(key) % count][key] = value
        by_shard = [0] * count
        records: list[list[bytes]] = [[b"before"]]
        found = form(shards, digest, by_shard, NOW, asked, start, CODES, USUAL, MOST, NULL, Expiring, NOW, records)
        assert found == (b"".join(replies), done, hits, misses, missed_gets)
        assert records == [[b"before"], *changes]
        is_same = [one is other or other[0] == b"SET" for one, other in zip(records[1:], changes, strict=True)]
        assert all(is_same), "a request is its own record"
        assert {key: value for shard in shards for key, value in shard.items()} == expected
        assert by_shard == [NOW if index in used else 0 for index in range(count)]


def test_full_collections_are_made_and_no_larger_ones() -> None:
    shards: list[dict[bytes, Any]] = [{}]
    long = [b"%064d" % number for number in range(MOST_MEMBERS + 1)]
    for form in forms("run_calls").values():
        for name, word in ((b"set_field", b"v" * 64), (b"push_right", None), (b"add_member", None), (b"add_score", None)):
            asked = [[name, name, *([b"%d.5" % -place, each] if name == b"add_score" else [each] + [word] * bool(word))]
                     for place, each in enumerate(long)]  # fmt: skip
            records: list[list[bytes]] = []
            found = form(shards, hash, [0], NOW, asked, 0, CODES, USUAL, MOST_MEMBERS, NULL, Expiring, NOW, records)
            assert (found[1], records) == (MOST_MEMBERS, asked[:MOST_MEMBERS])
        assert [value.count("\0") for value in shards[0].values()] == [MOST_MEMBERS + 1] * 4
        shards[0].clear()


@each_form("run_calls")
def test_runs_free_all(leaf: Callable[..., Any]) -> None:
    codes = dict(CODES)
    asked = [
        [b"set_field", b"h", b"a", b"value"],
        [b"get_field", b"h", b"a"],
        [b"push_left", b"l", b"element"],
        [b"push_right", b"l", b"element"],
        [b"add_member", b"s", b"member"],
        [b"find_member", b"s", b"a"],
        [b"remove_member", b"s", b"a"],
        [b"add_score", b"z", b"1.75", b"member"],
        [b"set_string", b"v", b"value"],
        [b"get_string", b"v"],
        [b"get_string", b"none"],
        [b"get_string", b"e"],
        [b"get_field", b"f", b"a"],
        [b"increment", b"n"],
        [b"increment", b"n"],
        *[[b"pop_left", b"l"], [b"pop_right", b"l"]] * 2,
        [b"get_field", b"missing", b"f"],
        [b"get_field", b"s", b"a"],
    ]
    shards: list[dict[bytes, Any]] = [{}]
    by_shard = [0]
    string, hash_ = Expiring(b"a value", NOW + 1), Expiring("h\0a\x01value\0", NOW + 1)

    def run() -> None:
        shards[0].clear()
        shards[0].update({b"e": string, b"f": hash_})
        shards[0].update({b"h": "h\0\xff\x011\0", b"l": "l\0element\0b\0", b"s": "s\0a\0b\0", b"z": "z\0a\x011.5\0b\x012\0"})
        assert leaf(shards, hash, by_shard, NOW, asked, 0, codes, USUAL, MOST, NULL, Expiring, NOW, [])[1] == len(asked) - 1

    held = (
        shards[0],
        NOW,
        asked,
        by_shard,
        codes,
        USUAL,
        *asked[2],
        asked[2],
        *asked[8],
        string,
        string.value,
        hash_,
        hash_.value,
    )
    assert_frees_all(run, *held)


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_what_has_run_before_a_failure_is_told() -> None:
    assert compiled
    asked: list[Any] = [[b"push_left", b"k", b"a"], [b"push_left", b"k", b"b"], [b"set_field", b"h", b"f", b"v"]]
    shards: list[dict[bytes, Any]] = [{}]
    records: list[list[bytes]] = []
    found = compiled.run_calls(shards, hash, [0], NOW, asked, 0, CODES, None, MOST, NULL, Expiring, NOW, records)
    assert (found, records) == ((b":1\r\n:2\r\n", 2, 0, 0, 0), asked[:2])
    assert shards == [{b"k": "l\0b\0a\0"}]
    with pytest.raises(AttributeError):
        compiled.run_calls(shards, hash, [0], NOW, asked, 2, CODES, None, MOST, NULL, Expiring, NOW, records)
    assert shards == [{b"k": "l\0b\0a\0"}]


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_what_has_run_is_recorded_when_memory_ends() -> None:
    assert compiled
    asked: list[Any] = [[b"push_left", b"%d" % (number % 40), b"%d" % number] for number in range(280)]
    asked += [[b"set_string", b"s", b"%d" % number] for number in range(40)] + [[b"increment", b"n"]] * 280
    shards: list[dict[bytes, Any]] = [{}]
    states: list[dict[bytes, Any]] = [{}]
    changes: list[list[bytes]] = []
    for request in asked:
        TWINS["run_calls"](shards, hash, [0], NOW, [request], 0, CODES, USUAL, MOST_MEMBERS, NULL, Expiring, NOW, changes)
        states.append(shards[0].copy())

    def run() -> tuple[tuple[dict[bytes, Any], list[list[bytes]]], Any]:
        shard: dict[bytes, Any] = {}
        records: list[list[bytes]] = []
        more = CODES, USUAL, MOST_MEMBERS, NULL, Expiring, NOW, records
        return (shard, records), lambda: compiled.run_calls([shard], hash, [0], NOW, asked, 0, *more)

    for (shard, records), found in each_end_of_memory(run):
        assert found is None or found[1] == len(records)
        assert records == changes[: len(records)]
        assert shard == states[len(records)]


class Clearing:
    """A configuration that empties what the run is about when it is asked."""

    def __init__(self, *contents: Any) -> None:
        self.contents = contents

    @property
    def hash_max_listpack_value(self) -> int:
        for each in self.contents:
            each.clear()
        return 64

    hash_max_listpack_entries = 512


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_lists_that_shrink_meanwhile_are_no_harm() -> None:
    assert compiled
    for place in range(4):
        asked = [[b"set_field", b"%d" % (number % 3), b"f%d" % number, b"v"] for number in range(9)]
        shards: list[dict[bytes, Any]] = [{b"0": "h\0f\x01v\0"}]
        contents: list[Any] = [shards, shards[0], asked, asked[0]]
        with suppress(IndexError, TypeError):
            compiled.run_calls(
                shards, hash, [0], NOW, asked, 0, dict(CODES), Clearing(contents[place]), MOST, NULL, Expiring, NOW
            )


class Odd:
    """An entry with an expiry as the keyspace has none."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize(
    ("attributes", "error"),
    [({}, AttributeError), ({"expires_at_ms": NOW + 1}, AttributeError), ({"expires_at_ms": 1.5, "value": b""}, TypeError)],
)
def test_odd_entries_are_refused(attributes: dict[str, Any], error: type[Exception]) -> None:
    assert compiled
    shards: list[dict[bytes, Any]] = [{b"k": Odd(**attributes)}]
    with pytest.raises(error):
        compiled.run_calls(shards, hash, [0], NOW, [[b"get_string", b"k"]], 0, CODES, USUAL, MOST, NULL, Odd, NOW, [])


class Closing:
    """A value that empties a list when it is freed."""

    def __init__(self, requests: list[Any]) -> None:
        self.requests = requests

    def __del__(self) -> None:
        self.requests.clear()


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_requests_that_go_meanwhile_are_no_harm() -> None:
    assert compiled
    requests = [[b"set_string", b"k", b"v"] for _ in range(9)]
    shards: list[dict[bytes, Any]] = [{b"k": Closing(requests)}]
    assert compiled.run_calls(shards, hash, [0], NOW, requests, 0, CODES, USUAL, MOST, NULL, Expiring, NOW, [])[1] == 1
    assert not requests
    assert shards == [{b"k": b"v"}]


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({4: ()}, TypeError),
        ({5: "0"}, TypeError),
        ({5: -1}, IndexError),
        ({5: 1 << 70}, OverflowError),
        ({6: []}, TypeError),
        ({6: {b"A": -1}}, IndexError),
        ({6: {b"A": 99}}, IndexError),
        ({6: {b"A": "0"}}, TypeError),
        ({8: None}, TypeError),
        ({8: 1 << 70}, OverflowError),
        ({9: None}, TypeError),
        ({10: None}, TypeError),
        ({11: None}, TypeError),
        ({12: ()}, TypeError),
        ({11: 1 << 70}, OverflowError),
        ({0: []}, TypeError),
        ({0: [7]}, TypeError),
        ({1: str}, TypeError),
        ({4: [(b"A", b"k")]}, TypeError),
        ({4: [[b"A", "k", b"e"]]}, TypeError),
    ],
)
def test_wrong_arguments_of_runs_are_refused(changes: dict[int, Any], error: type[Exception]) -> None:
    assert compiled
    arguments: list[Any] = [
        [{}],
        hash,
        [0],
        NOW,
        [[b"A", b"k", b"e"]],
        0,
        {b"A": CODES[b"push_left"]},
        USUAL,
        MOST,
        NULL,
        Expiring,
        NOW,
        [],
    ]
    assert compiled.run_calls(*arguments)[1] == 1
    for place, value in changes.items():
        arguments[place] = value
    with pytest.raises(error):
        compiled.run_calls(*arguments)
    with pytest.raises(TypeError):
        compiled.run_calls(*arguments[:12])
