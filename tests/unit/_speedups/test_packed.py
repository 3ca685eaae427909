"""Both forms of a call on a small collection make of it what Python's own dicts, lists and sets become."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups import packed
from kvserver._speedups.choice import compiled
from kvserver._speedups.runs import CALLS as ALL_CALLS
from kvserver.containers.packed import MOST_MEMBERS, pack_members, pack_pairs
from kvserver.types.set.value import are_integers
from kvserver.types.sorted_set.score import score_of, text_of

MOST = 4
CALLS = [call for call in ALL_CALLS if hasattr(packed, call.__name__)]
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


def test_a_score_is_given_in_a_full_sorted_set() -> None:
    rng = random.Random(1)
    members = {b"%d" % number: rng.randrange(10) / 10 for number in range(MOST_MEMBERS)}
    for member in members:
        for score in (-0.1, rng.randrange(10) / 10, 1.0, rng.randrange(10) / 10):
            entry = zset_of(members)
            members[member] = score
            found = same("add_score", entry, [b"ZADD", b"k", b"%.1f" % score, member], USUAL, MOST_MEMBERS)
            assert found == (0, zset_of(members))


@each_form("add_score")
def test_few_scores_are_read_to_find_the_place_of_a_member(leaf: Callable[..., Any]) -> None:
    """Each takes its time. Those that need not be read are none here."""
    read, low = [], 0
    while low < MOST_MEMBERS - 1:
        read.append((low + MOST_MEMBERS - 1) // 2)
        low = read[-1] + 1
    entry = "z\0" + "".join(f"{place:02}\x01{place if place in read else 'x'}\0" for place in range(MOST_MEMBERS - 1))
    found = leaf(entry, [b"ZADD", b"k", b"100", b"last"], USUAL, MOST_MEMBERS)
    assert found == (1, f"{entry}last\x01100\0")
    assert len(read) < 7


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


@pytest.mark.parametrize(
    ("name", "mark", "value", "found"),
    [
        ("get_field", "h", "\x011", (None, "the entry")),
        ("find_member", "s", "", (0, "the entry")),
        ("remove_member", "s", "", (0, "the entry")),
        ("add_score", "z", "\x011", None),
    ],
)
def test_words_of_more_bytes_than_any_that_stands_there_are_not_looked_for(
    name: str, mark: str, value: str, found: tuple[Any, str] | None
) -> None:
    """Who would look for one finds it here. A word of megabytes would take some milliseconds."""
    word = "x" * 65
    entry = f"{mark}\0{word}{value}\0"
    asked = [b"NAME", b"k", *([b"2"] if name == "add_score" else []), word.encode()]
    assert same(name, entry, asked, USUAL, MOST) == (found and (found[0], entry))
    if value:
        assert same("value_of", entry, word.encode()) is None
    else:
        assert not same("has_member", entry, word.encode())


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


def test_all_calls_are_tried() -> None:
    assert set(ALONE) == {call.__name__ for call in CALLS}
