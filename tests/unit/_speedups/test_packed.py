"""Both forms of a call on a small collection make of it what Python's own dicts, lists and sets become, and so do runs."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups import packed
from kvserver._speedups.choice import compiled
from kvserver._speedups.packed import CALLS, READS
from kvserver.containers.packed import MOST_MEMBERS, pack_members, pack_pairs
from kvserver.data.entries import Expiring
from kvserver.types.set.value import are_integers
from kvserver.types.sorted_set.score import score_of, text_of

MOST = 4
CODES = {call.__name__.encode(): code for code, call in enumerate(CALLS)}
WIDTHS = {b"set_field": 4, b"add_score": 4, b"pop_left": 2, b"pop_right": 2}
NOW = int("1700000000123")

# Few and awkward ones, so that one is the beginning, the end or a part of another.
packable = st.sampled_from([b"", b"a", b"aa", b"ab", b"b", b"\x02", b"\xff", b"\xc3\xa9", b"7", b"-7", b"x" * 64])
odd = st.sampled_from(
    [b"\0", b"\1", b"a\0b", b"a\x01b", b"a\1", b"\0a", b"a\0", b"x" * 65, b"9" * 18, b"9" * 19, b"-0", b"07"]
)
words = packable | odd
pairs = st.dictionaries(packable, packable, max_size=MOST)
LONG_INTEGERS = [b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809"]
scores = st.sampled_from([0.0, 1.0, 1.5, -2.0, 1e15, 1e300, 0.1, float("inf"), float("-inf")])
texts = st.sampled_from([b"1", b"0", b"-0", b"1.5", b"00.50", b"-2", b"0.1", b"9" * 15, b"9" * 17, b"1" + b"0" * 15])
others = st.sampled_from([b"string", b"", 7, "x\0", "s\0a\0", "h\0a\x011\0", "l\0a\0", "z\0a\x011\0"])
limits = st.builds(
    SimpleNamespace,
    hash_max_listpack_value=st.sampled_from([64, 1, 0, 1 << 70]),
    hash_max_listpack_entries=st.sampled_from([512, MOST, MOST - 1]),
    zset_max_listpack_value=st.sampled_from([64, 1, 0]),
    zset_max_listpack_entries=st.sampled_from([128, 2, 0, -(1 << 70)]),
    set_max_intset_entries=st.sampled_from([512, 2, 0]),
)
USUAL = SimpleNamespace(
    hash_max_listpack_value=64,
    hash_max_listpack_entries=512,
    zset_max_listpack_value=64,
    zset_max_listpack_entries=128,
    set_max_intset_entries=512,
)


def can_pack(*members: bytes) -> bool:
    return all(len(member) <= 64 and not {0, 1} & set(member) for member in members)


def hash_of(fields: dict[bytes, bytes]) -> str | None:
    return pack_pairs("h", fields.items()) if fields else None


def list_of(elements: list[bytes]) -> str | None:
    return pack_members("l", elements) if elements else None


def zset_of(members: dict[bytes, float]) -> str | None:
    ordered = sorted((score, member) for member, score in members.items())
    return pack_pairs("z", ((member, text_of(score)) for score, member in ordered)) if members else None


@given(pairs, words)
def test_a_field_is_found(fields: dict[bytes, bytes], name: bytes) -> None:
    found = same("get_field", hash_of(fields), [b"HGET", b"k", name], None, MOST)
    assert found == (fields.get(name), hash_of(fields))
    if fields:
        assert same("value_of", hash_of(fields), name) == fields.get(name)


@given(st.lists(packable, unique=True, max_size=MOST), words, st.sampled_from("is"))
def test_a_member_is_found(members: list[bytes], other: bytes, mark: str) -> None:
    entry = pack_members(mark, members) if members else None
    assert same("find_member", entry, [b"SISMEMBER", b"k", other], None, MOST) == (other in members, entry)
    if entry:
        assert same("has_member", entry, other) == (other in members)


@given(pairs, words, words, limits)
def test_a_field_is_set(fields: dict[bytes, bytes], name: bytes, value: bytes, config: Any) -> None:
    found = same("set_field", hash_of(fields), [b"HSET", b"k", name, value], config, MOST)
    is_usual = (
        can_pack(name, value)
        and max(len(name), len(value)) <= config.hash_max_listpack_value
        and config.hash_max_listpack_entries >= MOST
        and (name in fields or len(fields) < MOST)
    )
    assert found == ((int(name not in fields), hash_of({**fields, name: value})) if is_usual else None)


@given(st.lists(packable, max_size=MOST), words)
def test_elements_are_pushed_and_popped(elements: list[bytes], other: bytes) -> None:
    entry = list_of(elements)
    is_usual = can_pack(other) and len(elements) < MOST
    for name, longer in (("push_left", [other, *elements]), ("push_right", [*elements, other])):
        expected = (len(longer), list_of(longer)) if is_usual else None
        assert same(name, entry, [b"PUSH", b"k", other], None, MOST) == expected
    for name, place in (("pop_left", 0), ("pop_right", -1)):
        left = elements.copy()
        assert same(name, entry, [b"POP", b"k"], None, MOST) == (left.pop(place) if left else None, list_of(left))


@given(st.lists(packable, unique=True, max_size=MOST), words | st.sampled_from(LONG_INTEGERS), limits)
@example([b"1"], b"-", USUAL)
@example([], b"0", USUAL)
def test_members_are_added_and_removed(members: list[bytes], other: bytes, config: Any) -> None:
    is_intset = are_integers(members or [other])
    mark = "i" if is_intset else "s"
    entry = pack_members(mark, members) if members else None
    found = same("add_member", entry, [b"SADD", b"k", other], config, MOST)
    if not can_pack(other):
        assert found is None
    elif other in members:
        assert found == (0, entry)
    elif len(members) >= MOST or (is_intset and not (len(members) < config.set_max_intset_entries and are_integers([other]))):
        assert found is None
    else:
        assert found == (1, pack_members(mark, [*members, other]))
    left = [member for member in members if member != other]
    found = same("remove_member", entry, [b"SREM", b"k", other], config, MOST)
    assert found == (int(other in members), pack_members(mark, left) if left else None)


@given(st.dictionaries(packable, scores, max_size=MOST), words, texts, limits)
@example({b"a": 1.0, b"b": 1.0, b"c": 1.0}, b"b", b"2", USUAL)
@example({b"a": 1.0, b"b": 1.0, b"c": 2.0}, b"c", b"1", USUAL)
@example({b"a": 1.0, b"b": 3.0, b"c": 5.0}, b"b", b"4", USUAL)
def test_a_score_is_given(members: dict[bytes, float], member: bytes, text: bytes, config: Any) -> None:
    entry = zset_of(members)
    found = same("add_score", entry, [b"ZADD", b"k", text, member], config, MOST)
    is_new = member not in members
    is_refused = not can_pack(member) or len(member) > config.zset_max_listpack_value
    is_full = len(members) >= min(MOST, config.zset_max_listpack_entries)
    if is_new and (is_refused or is_full):
        assert found is None
        return
    assert found == (int(is_new), zset_of({**members, member: score_of(text) + 0.0}))


@pytest.mark.parametrize("text", [b"1", b"-1", b"1.5", b"-0.25", b"0", b"007", b"12345678901234567", b"0.123456789012345"])
def test_usual_scores_are_taken(text: bytes) -> None:
    assert same("add_score", None, [b"ZADD", b"k", text, b"m"], USUAL, MOST) == (1, zset_of({b"m": score_of(text)}))


@pytest.mark.parametrize(
    "text", [b"", b"-", b".5", b"5.", b"1e3", b"inf", b"nan", b"NX", b"+1", b"9" * 18, b" 1", b"1.2.3", b"1\0"]
)
def test_other_scores_are_left_to_others(text: bytes) -> None:
    assert same("add_score", None, [b"ZADD", b"k", text, b"m"], USUAL, MOST) is None


@pytest.mark.parametrize("name", [call.__name__ for call in CALLS])
def test_what_is_written_is_another_object_and_what_is_read_the_same(name: str) -> None:
    entries = {
        "get_field": "h",
        "set_field": "h",
        "add_score": "z",
        "find_member": "s",
        "add_member": "s",
        "remove_member": "s",
    }
    mark = entries.get(name, "l")
    entry: Any = {"h": "h\0a\x011\0b\x012\0", "z": "z\0a\x011\0b\x012\0"}.get(mark, f"{mark}\0a\0b\0")
    request = [b"NAME", b"k", b"1", b"a"] if name == "add_score" else [b"NAME", b"k", b"a", b"1"]
    request = request[: WIDTHS.get(name.encode(), 3)]
    for form in forms(name).values():
        found = form(entry, request, USUAL, MOST)
        changed = found[1]
        is_changed = name in ("set_field", "push_left", "push_right", "pop_left", "pop_right", "remove_member")
        assert (changed is not entry) == is_changed


@given(others, st.lists(words, min_size=1, max_size=5), limits)
def test_what_is_not_usual_is_left_to_others(entry: Any, request: list[bytes], config: Any) -> None:
    for call in CALLS:
        width = WIDTHS.get(call.__name__.encode(), 3)
        found = same(call.__name__, entry, request, config, MOST)
        if len(request) != width or type(entry) is not str:
            assert found is None


# Runs

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
        Expiring("h\0a\x011\0", NOW),
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
@example({}, [[b"other", b"k"]], 0, 1, hash)
@example({}, [[b"push_left"]], 0, 1, hash)
def test_runs_are_calls_one_by_one(
    members: dict[bytes, Any], asked: list[list[bytes]], start: int, count: int, digest: Callable[[bytes], int]
) -> None:
    expected, replies, changes, used = dict(members), [], [], set()
    hits = misses = done = 0
    for request in asked[start:]:
        code = CODES.get(request[0])
        if code is None or len(request) < 2:
            break
        used.add(digest(request[1]) % count)
        entry = expected.get(request[1])
        found = CALLS[code](entry, request, USUAL, MOST)
        if found is None:
            break
        reply, changed = found
        replies.append(
            NULL if reply is None else b":%d\r\n" % reply if isinstance(reply, int) else b"$%d\r\n%b\r\n" % (len(reply), reply)
        )
        if changed is not entry:
            changes.append(request)
            expected[request[1]] = changed
            if changed is None:
                del expected[request[1]]
        elif code < READS:
            hits += entry is not None
            misses += entry is None
        done += 1
    for form in forms("run_calls").values():
        shards: list[dict[bytes, Any]] = [{} for _ in range(count)]
        for key, value in members.items():
            shards[digest(key) % count][key] = value
        by_shard = [0] * count
        found = form(shards, digest, by_shard, NOW, asked, start, CODES, USUAL, MOST, NULL)
        assert found == (b"".join(replies), changes, done, hits, misses)
        assert all(one is other for one, other in zip(found[1], changes, strict=True))
        assert {key: value for shard in shards for key, value in shard.items()} == expected
        assert by_shard == [NOW if index in used else 0 for index in range(count)]


def test_full_collections_are_made_and_no_larger_ones() -> None:
    shards: list[dict[bytes, Any]] = [{}]
    long = [b"%064d" % number for number in range(MOST_MEMBERS + 1)]
    for form in forms("run_calls").values():
        for name, word in ((b"set_field", b"v" * 64), (b"push_right", None), (b"add_member", None), (b"add_score", None)):
            asked = [[name, name, *([b"%d.5" % -place, each] if name == b"add_score" else [each] + [word] * bool(word))]
                     for place, each in enumerate(long)]  # fmt: skip
            found = form(shards, hash, [0], NOW, asked, 0, CODES, USUAL, MOST_MEMBERS, NULL)
            assert found[1:3] == (asked[:MOST_MEMBERS], MOST_MEMBERS)
        assert [value.count("\0") for value in shards[0].values()] == [MOST_MEMBERS + 1] * 4
        shards[0].clear()


# What only the forms in C can get wrong

ALONE: dict[str, tuple[Any, list[bytes]]] = {
    "get_field": ("h\0a\x011\0", [b"HGET", b"k", b"a"]),
    "find_member": ("s\0a\0", [b"SISMEMBER", b"k", b"a"]),
    "set_field": ("h\0\xff\x011\0", [b"HSET", b"k", b"a", b"value"]),
    "push_left": ("l\0a\0", [b"LPUSH", b"k", b"element"]),
    "push_right": ("l\0a\0", [b"RPUSH", b"k", b"element"]),
    "pop_left": ("l\0element\0b\0", [b"LPOP", b"k"]),
    "pop_right": ("l\0a\0element\0", [b"RPOP", b"k"]),
    "add_member": ("s\0a\0", [b"SADD", b"k", b"member"]),
    "remove_member": ("s\0a\0b\0", [b"SREM", b"k", b"a"]),
    "add_score": ("z\0a\x011.5\0b\x012\0", [b"ZADD", b"k", b"1.75", b"member"]),
}


@pytest.mark.parametrize("name", ALONE)
def test_calls_free_all(name: str) -> None:
    entry, request = ALONE[name]
    for form in forms(name).values():
        held = entry, request, USUAL, *request
        assert_frees_all(lambda form=form: form(entry, request, USUAL, MOST), *held)  # type: ignore[misc]
        assert_frees_all(lambda form=form: form(None, request, USUAL, MOST), *held)  # type: ignore[misc]
        assert_frees_all(lambda form=form: form(b"string", request, USUAL, MOST), *held)  # type: ignore[misc]


@each_form("run_calls")
def test_runs_free_all(leaf: Callable[..., Any]) -> None:
    codes = dict(CODES)
    asked = [[name.encode(), entry[:1].encode(), *request[2:]] for name, (entry, request) in ALONE.items()]
    asked += [[b"pop_left", b"l"]] * 4 + [[b"get_field", b"missing", b"f"], [b"get_field", b"s", b"a"]]
    shards: list[dict[bytes, Any]] = [{}]
    by_shard = [0]

    def run() -> None:
        shards[0].clear()
        shards[0].update({entry[:1].encode(): entry for entry, _ in ALONE.values()})
        assert leaf(shards, hash, by_shard, NOW, asked, 0, codes, USUAL, MOST, NULL)[2] == len(asked) - 1

    held = shards[0], NOW, asked, by_shard, codes, USUAL, *asked[2], asked[2]
    assert_frees_all(run, *held)


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize("name", ALONE)
def test_wrong_arguments_of_calls_are_refused(name: str) -> None:
    entry, request = ALONE[name]
    form = getattr(compiled, name)
    for arguments in ((), (entry, request, USUAL), (entry, request, USUAL, "4"), (entry, request, USUAL, MOST, 1)):
        with pytest.raises(TypeError):
            form(*arguments)
    with pytest.raises(OverflowError):
        form(entry, request, USUAL, 1 << 70)
    # What is no list of bytes is no usual call.
    for wrong in ((), tuple(request), [*request[:-1], "x"]):
        assert form(entry, wrong, USUAL, MOST) is None
    for entry in ("", "h", "\0", "\0\0", "hzsil", "h\0a", "z\0a", "s\0a", "l\0a"):
        assert form(entry, request, USUAL, MOST) is None


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_configuration_that_fails_is_told() -> None:
    assert compiled
    for name in ("set_field", "add_score"):
        with pytest.raises(AttributeError):
            getattr(compiled, name)(None, ALONE[name][1], None, MOST)
    with pytest.raises(AttributeError):
        compiled.add_member("i\x001\0", [b"SADD", b"k", b"2"], None, MOST)
    with pytest.raises(ValueError, match="no pairs"):
        compiled.add_score("z\0a\0", [b"ZADD", b"k", b"2", b"b"], USUAL, MOST)
    for name, wrong in (("value_of", "s\0a\0"), ("value_of", None), ("has_member", "h\0a\x011\0"), ("has_member", b"s\0a\0")):
        with pytest.raises(TypeError):
            getattr(compiled, name)(wrong, b"a")
        with pytest.raises(TypeError):
            getattr(compiled, name)("s\0a\0" if name == "has_member" else "h\0a\x011\0", "a")


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
def test_what_has_run_before_a_failure_is_told() -> None:
    assert compiled
    asked: list[Any] = [[b"push_left", b"k", b"a"], [b"push_left", b"k", b"b"], [b"set_field", b"h", b"f", b"v"]]
    shards: list[dict[bytes, Any]] = [{}]
    found = compiled.run_calls(shards, hash, [0], NOW, asked, 0, CODES, None, MOST, NULL)
    assert found == (b":1\r\n:2\r\n", asked[:2], 2, 0, 0)
    assert shards == [{b"k": "l\0b\0a\0"}]
    with pytest.raises(AttributeError):
        compiled.run_calls(shards, hash, [0], NOW, asked, 2, CODES, None, MOST, NULL)
    assert shards == [{b"k": "l\0b\0a\0"}]


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
            compiled.run_calls(shards, hash, [0], NOW, asked, 0, dict(CODES), Clearing(contents[place]), MOST, NULL)


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
        ({0: []}, TypeError),
        ({0: [7]}, TypeError),
        ({1: str}, TypeError),
        ({4: [(b"A", b"k")]}, TypeError),
        ({4: [[b"A", "k", b"e"]]}, TypeError),
    ],
)
def test_wrong_arguments_of_runs_are_refused(changes: dict[int, Any], error: type[Exception]) -> None:
    assert compiled
    arguments: list[Any] = [[{}], hash, [0], NOW, [[b"A", b"k", b"e"]], 0, {b"A": CODES[b"push_left"]}, USUAL, MOST, NULL]
    assert compiled.run_calls(*arguments)[2] == 1
    for place, value in changes.items():
        arguments[place] = value
    with pytest.raises(error):
        compiled.run_calls(*arguments)
    with pytest.raises(TypeError):
        compiled.run_calls(*arguments[:9])


def test_all_calls_are_leaves() -> None:
    assert [getattr(packed, call.__name__) for call in CALLS] == list(CALLS)
    assert set(ALONE) == {call.__name__ for call in CALLS}
