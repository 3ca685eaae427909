"""Both forms of what makes a node small give the same: strings in one, and numbers of few bytes (`stream.test_joined`)."""

from __future__ import annotations

from array import array
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_end_of_memory, forms, same

strings = st.binary(max_size=9) | st.binary(min_size=1, max_size=9).map(lambda text: text.replace(b"\0", b"-"))


@given(st.lists(strings, max_size=50))
def test_strings_are_joined_alike(some: list[bytes]) -> None:
    found = same("join_strings", some)
    if not some or any(0 in string for string in some):
        assert found is None
    else:
        joined, begins = found
        assert joined.split(b"\0") == some
        ends = [len(b"\0".join([*some[:place], b""])) for place in range(0, len(some), 16)]
        assert array("Q", begins).tolist() == [*ends, len(joined) + 1]


@pytest.mark.parametrize(
    ("lengths", "is_joined"), [([1_024], True), ([1_025], False), ([2_048, 0], True), ([2_049, 0], False)]
)
def test_long_strings_are_not_joined(lengths: list[int], is_joined: bool) -> None:
    assert (same("join_strings", [b"x" * length for length in lengths]) is not None) == is_joined


@given(st.sampled_from([8, 16, 32, 64]).flatmap(lambda bits: st.lists(st.integers(0, 2**bits - 1), max_size=20)))
def test_numbers_are_narrowed_alike(numbers: list[int]) -> None:
    found = same("narrow_numbers", array("Q", numbers).tobytes())
    bits = max(numbers, default=0).bit_length()
    code = "B" if bits <= 8 else "H" if bits <= 16 else "I" if bits <= 32 else "Q"
    assert array(code, found).tolist() == numbers


@pytest.mark.parametrize(
    ("name", "argument"), [("join_strings", [b"a", b"b" * 50, b""]), ("narrow_numbers", array("Q", [1, 70_000]).tobytes())]
)
def test_nothing_is_kept_and_memory_may_end(name: str, argument: Any) -> None:
    whole = same(name, argument)
    for form in forms(name).values():
        assert_frees_all(partial(form, argument), argument)
    assert_frees_all(partial(same, "join_strings", [b"a\0", b"b"]))
    leaf = forms(name).get("compiled")
    if leaf is not None:
        ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(argument)))]
        assert all(found in (None, whole) for found in ended)
        assert ended[-1] == whole
        mistakes: list[tuple[object, ...]] = [(), ((b"a",),), (["a"],), (b"1234567",), (argument, 1), (None,)]
        for wrong in mistakes:
            with pytest.raises(TypeError):
                leaf(*wrong)
