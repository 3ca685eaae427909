"""Both forms of what fills chunks put each member where a table that grows has it (`containers.test_table`)."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.leaves import assert_frees_all, each_end_of_memory, each_form, forms

MEMBERS = {b"member:%d" % number: b"%d" % number for number in range(1_000)}


def chunks_of(leaf: Any, count: int, members: dict[bytes, Any] = MEMBERS, digest: Any = hash) -> list[list[tuple[bytes, Any]]]:
    chunks: list[dict[bytes, Any]] = [{} for _ in range(count)]
    assert leaf(chunks, members, digest) is None
    return [list(chunk.items()) for chunk in chunks]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8, 9, 300])
def test_members_are_where_their_hashes_say(count: int) -> None:
    found = [chunks_of(form, count) for form in forms("fill_chunks").values()]
    assert all(chunks == found[0] for chunks in found)
    assert dict(pair for chunk in found[0] for pair in chunk) == MEMBERS
    bits = (count - 1).bit_length()
    for index, chunk in enumerate(found[0]):
        for member, _ in chunk:
            wide = hash(member) >> 32 & (1 << bits) - 1
            assert index == (wide if wide < count else wide & (1 << bits - 1) - 1)


@each_form("fill_chunks")
def test_digest_may_be_another(leaf: Any) -> None:
    chunks = chunks_of(leaf, 3, digest=lambda member: (len(member) % 3) << 32)
    assert [{len(member) for member, _ in chunk} for chunk in chunks] == [{9}, {10}, {8}]
    for number in ((1 << 62) - (1 << 32), (1 << 64) - (1 << 32), 1 << 32, -1, -(1 << 40) + (5 << 32)):
        assert chunks_of(leaf, 3, {b"a": None}, lambda member, number=number: number)[1] == [(b"a", None)], number
    with pytest.raises(ZeroDivisionError):
        chunks_of(leaf, 3, digest=lambda member: 1 // 0)


@each_form("fill_chunks")
def test_nothing_is_kept(leaf: Any) -> None:
    value = object()
    assert_frees_all(lambda: chunks_of(leaf, 3, {b"a": value, b"b": value, b"c": None}), value)


def test_memory_may_end_anywhere() -> None:
    leaf = forms("fill_chunks").get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")

    def begin() -> Any:
        chunks: list[dict[bytes, Any]] = [{}, {}, {}]
        return chunks, lambda: leaf(chunks, MEMBERS, hash) is None

    for chunks, found in each_end_of_memory(begin):
        there = {member: value for chunk in chunks for member, value in chunk.items()}
        assert there.items() <= MEMBERS.items()
        assert found is None or there == MEMBERS


def test_leaf_refuses_what_its_twin_is_never_given() -> None:
    leaf = forms("fill_chunks").get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")
    one: dict[bytes, Any] = {b"a": 1}
    mistakes: list[tuple[Any, ...]] = [(), ([{}, {}], one), ([{}], one, hash), (({}, {}), one, hash), ([[], []], one, hash)]
    for wrong in [*mistakes, ([{}, {}], {"a": 1}, hash), ([{}, {}], one, str), ([{}, {}], one, None)]:
        with pytest.raises(TypeError):
            leaf(*wrong)
