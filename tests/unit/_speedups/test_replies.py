"""Both forms cut replies where one ends, whatever stands in them, and refuse what is not whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import compiled
from kvserver.resp.reply import NULL_ARRAY, Attributes, Error, Pairs, Push, Reply, SetOf, Simple, Verbatim, encode

scalars: st.SearchStrategy[Reply] = (
    st.binary(max_size=20)
    | st.sampled_from([b"\r\n", b"$1\r\n", None, True, NULL_ARRAY, Simple("OK"), Error("ERR no"), Verbatim(b"a\r\nb")])
    | st.integers()
    | st.floats(allow_nan=False)
)


def _aggregates(inner: st.SearchStrategy[Reply]) -> st.SearchStrategy[Reply]:
    lists = st.lists(inner, max_size=4)
    return lists | lists.map(SetOf) | lists.map(Push) | lists.map(lambda items: Pairs(zip(items, items, strict=True)))


replies = st.recursive(scalars, _aggregates, max_leaves=8)
EXAMPLES = [
    b"",
    b"$",
    b"$-1\r\n",
    b"$--1\r\n",
    b"$-\r\n",
    b"$+1\r\na\r\n",
    b"$1_0\r\n",
    b"$ 1\r\na\r\n",
    b"*3\r\n:1\r\n:2\r\n",
]
EXAMPLES += [
    b"*-1\r\n",
    b"*0\r\n",
    b":1\r",
    b":1\r\r\n",
    b"$9\r\na\r\n",
    b"*99999999999999999999\r\n",
    b"$99999999999999999999\r\n",
]
EXAMPLES += [
    b"$1\r\na\r\n$1\r\na\r",
    b"%1\r\n:1\r\n",
    b"|1\r\n:1\r\n:2\r\n",
    b"|0\r\n:1\r\n",
    b"*1\r\n|1\r\n:1\r\n:2\r\n:3\r\n",
]


@given(st.lists(replies, max_size=6), st.sampled_from([2, 3]))
def test_replies_are_cut_where_one_ends(given_: list[Reply], protocol: int) -> None:
    written = [encode(reply, protocol) for reply in given_]
    assert same("cut_replies", b"".join(written), [[1]] * len(written)) == written


@given(st.lists(st.lists(replies, max_size=3), max_size=4))
def test_replies_are_cut_by_their_numbers(given_: list[list[Reply]]) -> None:
    written = [b"".join(encode(reply, 3) for reply in group) for group in given_]
    assert same("cut_replies", b"".join(written), given_) == written


@given(replies)
def test_attributes_are_of_the_reply_behind_them(reply: Reply) -> None:
    written = encode(Attributes({b"key": [1, 2]}), 3) + encode(reply, 3)
    assert same("cut_replies", written * 2, [[1], [1]]) == [written] * 2


def _cut_by(form: Callable[[bytes, list[list[Any]]], list[bytes]], data: bytes, count: int) -> list[bytes] | None:
    with suppress(ValueError):
        return form(data, [[1] * count])
    return None


PIECES = [b"$", b"*", b"%", b"|", b"-", b"0", b"1", b"2", b"\r\n", b"\r", b"\n", b"a"]


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(0, 4))
def test_forms_refuse_the_same(pieces: list[bytes], count: int) -> None:
    data = b"".join(pieces)
    found = [_cut_by(form, data, count) for form in forms("cut_replies").values()]
    assert all(each == found[0] for each in found), (data, found)
    assert found[0] is None or found[0] == [data]


@pytest.mark.parametrize("data", EXAMPLES)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_forms_refuse_the_same_unusual_numbers(data: bytes, count: int) -> None:
    found = [_cut_by(form, data, count) for form in forms("cut_replies").values()]
    assert all(each == found[0] for each in found), found


@given(st.lists(replies, min_size=1, max_size=3), st.data())
def test_what_is_not_whole_is_refused(given_: list[Reply], data: st.DataObject) -> None:
    *_, last = written = [encode(reply, 3) for reply in given_]
    cut = b"".join(written)[: -data.draw(st.integers(1, max(len(last) - 1, 1)))]
    for form in forms("cut_replies").values():
        with pytest.raises(ValueError, match="a reply is not whole"):
            form(cut, [written])


@each_form("cut_replies")
def test_more_replies_than_are_asked_for_are_refused(leaf: Callable[[bytes, list[list[Any]]], list[bytes]]) -> None:
    for queues in ([], [[1]], [[1], []]):
        with pytest.raises(ValueError, match="there are more replies"):
            leaf(b":1\r\n:2\r\n", queues)


@each_form("cut_replies")
def test_all_is_freed(leaf: Callable[[bytes, list[list[Any]]], list[bytes]]) -> None:
    queues: list[list[Any]] = [[1] * 3, [1], [], [1] * 16]
    whole, cut = b"+OK\r\n$3\r\nabc\r\n" * 10, b"+OK\r\n$3\r\nab"
    assert_frees_all(lambda: (leaf(whole, queues), _cut_by(leaf, cut, 2), _cut_by(leaf, whole, 9)), whole, cut, queues)


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments",
    [(), (b"",), ("", []), (None, []), (bytearray(b":1\r\n"), [[1]]), (b"", ([],)), (b":1\r\n", [(1,)]), (b"", [], [])],
)
def test_what_is_no_data_is_refused(arguments: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises(TypeError):
        compiled.cut_replies(*arguments)
