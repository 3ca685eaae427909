"""Both forms of what writes strings of RDB files give the same, and what is written is read again."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_end_of_memory, forms, same
from kvserver._speedups.rdb_parts import items_at, number_at
from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.types.string.value import Raw

NUMBERS = [near + sign * (1 << bits) for bits in (7, 15, 31, 32, 40) for sign in (1, -1) for near in (-1, 0, 1)]
strings = (
    st.binary(max_size=12)
    | st.sampled_from(NUMBERS).map(b"%d".__mod__)
    | st.sampled_from([b"", b"-", b"0", b"-0", b"00", b"01", b"+1", b"-01", b"9" * 10, b"9" * 11, b"1" * 12, b"1 ", b"1\n"])
    | st.sampled_from([63, 64, 16_383, 16_384]).map(lambda length: b"x" * length)
)


@given(st.sampled_from([b"", b"\0", b"head"]), st.integers(1, 3), st.lists(strings, max_size=8))
@example(b"\0", 2, [Raw(b"1"), Raw(b"x")])
def test_strings_are_written(head: bytes, size: int, some: list[bytes]) -> None:
    parts = [b"" if number % size else head for number in range(len(some))]
    assert same("write_strings", head, size, some) == b"".join(
        part + write_string(string) for part, string in zip(parts, some, strict=True)
    )


@given(st.lists(strings, max_size=8))
def test_what_is_written_is_read(some: list[bytes]) -> None:
    data = same("write_strings", b"", 1, some)
    assert items_at(data, 0, b"s", len(some), 0) == (some, len(data))


@pytest.mark.parametrize("length", [0, 63, 64, 2**14 - 1, 2**14, 2**32 - 1, 2**32, 2**64 - 1])
def test_lengths_are_written_in_as_few_bytes_as_redis_takes(length: int) -> None:
    data = write_length(length)
    assert number_at(data, 0) == (length, len(data))
    assert len(data) == (1 if length < 64 else 2 if length < 2**14 else 5 if length < 2**32 else 9)


def test_nothing_is_kept_and_memory_may_end() -> None:
    some = [b"12", b"x" * 100]
    for form in forms("write_strings").values():
        assert_frees_all(partial(form, b"\0", 2, some), *some)
    leaf = forms("write_strings").get("compiled")
    if leaf is not None:
        for _, found in each_end_of_memory(lambda: (None, lambda: leaf(b"\0", 2, some))):
            assert found in (None, b"\0\xc0\x0c\x40\x64" + b"x" * 100)
        mistakes: list[tuple[object, ...]] = [(), (b"", 1), (b"", 1, ["text"]), (b"", 1, (b"x",)), ("", 1, [])]
        for wrong in mistakes:
            with pytest.raises(TypeError):
                leaf(*wrong)
        with pytest.raises(ValueError, match="so many"):
            leaf(b"", 0, [])
