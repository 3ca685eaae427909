"""Sets: a packed value and a large one answer alike, and know if Redis would hold an intset."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import tagged_name
from kvserver.data.kinds import fork, form_of_tag
from kvserver.types.set.value import (
    SET,
    Few,
    Set,
    add_all,
    are_integers,
    in_order,
    is_intset,
    members_of,
    new_value,
)

members = st.lists(st.binary(max_size=5) | st.integers(-(2**65), 2**65).map(lambda number: b"%d" % number), unique=True)


@pytest.mark.parametrize("member", [b"0", b"-1", b"12345678901234567", b"9223372036854775807", b"-9223372036854775808"])
def test_integer_is_one(member: bytes) -> None:
    assert are_integers([member])


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"-0",
        b"+1",
        b"01",
        b"1 ",
        b"1\0",
        b"\0001",
        b"1\0002",
        b"-",
        b"1_0",
        b"9223372036854775808",
        b"-9223372036854775809",
    ],
)
def test_what_redis_takes_for_no_integer_is_none(member: bytes) -> None:
    assert not are_integers([member])
    assert not are_integers([b"1", member, b"2"])


def test_many_integers_are_told_in_one_go() -> None:
    many = [b"%d" % number for number in range(10_000)]
    assert are_integers(many)
    assert not are_integers([*many, b"x"])
    assert is_intset(many, 10_000)
    assert not is_intset(many, 9_999)


@pytest.mark.parametrize("make", [Few, Set])
def test_both_forms_have_the_same_methods(make: type[Few] | type[Set]) -> None:
    some = make([b"2", b"10"], is_intset=True)
    assert add_all(some, [b"1", b"2"], 512) == 1
    assert some.is_intset
    assert in_order(some) == [b"1", b"2", b"10"]
    assert some.discard(b"2")
    assert not some.discard(b"2")
    assert add_all(some, [b"1"], 1) == 0
    assert some.is_intset, "nothing came in, so nothing is converted"
    assert add_all(some, [b"3"], 2) == 1
    assert not some.is_intset
    assert sorted(some) == [b"1", b"10", b"3"]


def test_fork_is_independent_and_keeps_the_encoding() -> None:
    value = Set([b"1", b"2"], is_intset=True)
    forked = fork(value)
    assert isinstance(forked, Set)
    assert forked.is_intset
    add_all(forked, [b"a"], 512)
    assert value.is_intset
    assert sorted(value) == [b"1", b"2"]


def test_small_set_is_packed_and_a_large_one_is_not() -> None:
    assert new_value([b"a", b"b"], is_intset=False) == "s\0a\0b\0"
    assert new_value([b"1", b"2"], is_intset=True) == "i\x001\x002\0"
    for awkward in ([b"\0"], [b"\1"], [b"x" * 65], [b"%d" % number for number in range(65)]):
        value = new_value(awkward, is_intset=False)
        assert isinstance(value, Set)
        assert set(value) == set(awkward)


@settings(max_examples=40)
@given(members)
def test_json_is_what_python_writes_and_reads_back(some: list[bytes]) -> None:
    if not some:
        return
    value = new_value(some, is_intset=is_intset(some, 512))
    tag, text = SET.json(value)
    names = sorted(map(tagged_name, some))
    assert (tag, text) == ("set", json.dumps(names, separators=(",", ":"), ensure_ascii=False).encode())
    form = form_of_tag(tag)
    assert form is not None
    again = form.read(json.loads(text))
    assert isinstance(again, str | Set)
    assert SET.json(again) == (tag, text)
    assert SET.encoding(again) == SET.encoding(value)
    assert set(members_of(again) or ()) == set(some)


@pytest.mark.parametrize("document", [{}, [], [1], ["a", None], ["$kvs:!"], "a", None, [["a"]]])
def test_what_is_no_set_is_not_read(document: object) -> None:
    form = form_of_tag("set")
    assert form is not None
    assert form.read(document) is None


def test_size_grows_with_the_members() -> None:
    sizes = [SET.size_bytes(new_value([b"%d" % n for n in range(count)], is_intset=True)) for count in (1, 10, 64, 65, 1000)]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
