"""Small collections are packed as their kind makes them of the same body, by both forms alike, and damaged ones are left."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kvserver.types
from helpers import blocks, dumps
from helpers.leaves import assert_frees_all, each_end_of_memory, forms, same
from kvserver._speedups.rdb_strings import write_length, write_string, write_strings
from kvserver.data.kinds import load_of_dump
from kvserver.errors import DumpInvalid
from kvserver.formats.intset import write_intset
from kvserver.formats.listpack import write_listpack
from kvserver.formats.rdb_collections import FORMS

# The kinds are found where these are imported.
assert kvserver.types

LIMIT = 10_000
SCORES = [b"1", b"2", b"-5", b"0", b"1.5", b"0.10000000000000001", b"inf", b"-inf", b"1e300", b"123456789012345678", b"3"]
ODD_SCORES = [b"nan", b"-0", b"", b"1_0", b" 1", b"x", b"1e", b"0x10", b"infinity", b"+inf", b"01"]

members = (
    st.binary(max_size=12)
    | st.integers(-(2**64), 2**64).map(b"%d".__mod__)
    | st.integers(-200, 200).map(b"%d".__mod__)
    | st.sampled_from([b"", b"x" * 64, b"x" * 65, b"a\0b", b"a\1", b"-0", b"01", b"%d" % 2**63, b"%d" % -(2**63)])
)
plain = st.text("abcdefgh0123456789", max_size=20).map(str.encode)
texts = st.sampled_from(SCORES) | st.floats(allow_nan=False).map(b"%.17g".__mod__) | st.sampled_from(ODD_SCORES)


def listpack(strings: list[bytes]) -> bytes:
    return write_string(write_listpack(strings))


def ziplist(strings: list[bytes]) -> bytes:
    return write_string(blocks.ziplist(map(blocks.ziplist_string, strings)))


def nodes(strings: list[bytes]) -> bytes:
    """A quicklist: a node that is one string, if there is one, and the others in two listpacks."""
    some = [b"\2" + listpack(strings[1:3]), b"\2" + listpack(strings[3:])]
    if strings:
        some.insert(1, b"\1" + write_string(strings[0]))
    return write_length(len(some)) + b"".join(some)


def texts_of(strings: list[bytes]) -> bytes:
    """Members and scores of the first type of sorted sets."""
    codes = {b"nan": b"\xfd", b"inf": b"\xfe", b"-inf": b"\xff"}
    scores = [codes.get(text, bytes((len(text),)) + text) for text in strings[1::2]]
    return write_length(len(scores)) + b"".join(
        write_string(member) + score for member, score in zip(strings[::2], scores, strict=True)
    )


def doubles_of(strings: list[bytes]) -> bytes:
    scores = [struct.pack("<d", float(text) if text in SCORES else float("nan")) for text in strings[1::2]]
    return write_length(len(scores)) + b"".join(
        write_string(member) + score for member, score in zip(strings[::2], scores, strict=True)
    )


def counted(size: int, strings: list[bytes]) -> bytes:
    return write_length(len(strings) // size) + write_strings(b"", 1, strings)


def integers(strings: list[bytes]) -> bytes:
    numbers = {int(text) for text in strings if text.lstrip(b"-").isdigit()}
    return write_string(write_intset(number for number in numbers if -(2**63) <= number < 2**63))


def zipmap(strings: list[bytes]) -> bytes:
    return write_string(blocks.zipmap(zip(strings[::2], strings[1::2], strict=True), 3))


# How the body of each type is made of its words, and how many of these are a member.
MADE: dict[int, tuple[int, Callable[[list[bytes]], bytes]]] = {
    1: (1, partial(counted, 1)),
    2: (1, partial(counted, 1)),
    3: (2, texts_of),
    4: (2, partial(counted, 2)),
    5: (2, doubles_of),
    9: (2, zipmap),
    10: (1, ziplist),
    11: (1, integers),
    12: (2, ziplist),
    13: (2, ziplist),
    14: (1, lambda strings: b"\2" + ziplist(strings[:2]) + ziplist(strings[2:])),
    16: (2, listpack),
    17: (2, listpack),
    18: (1, nodes),
    20: (1, listpack),
}
SCORED = (3, 5, 12, 17)


def read(dump_type: int, body: bytes, limit: int = LIMIT) -> Any:
    """The packed collection that a body is: what its kind makes of it. None if the kind makes another value, or none."""
    load = load_of_dump(dump_type)
    assert load
    packed = same("packed_of", body, load.packing, limit)
    try:
        value = load.value(body, limit)
    except DumpInvalid:
        value = None
    assert packed == (value if isinstance(value, str) else None), (dump_type, body, packed, value)
    return packed


def test_each_form_is_read() -> None:
    assert MADE.keys() == FORMS.keys()


def words_of(dump_type: int, draw: st.DataObject, names: st.SearchStrategy[bytes], most: int) -> list[bytes]:
    count = draw.draw(st.integers(0, most))
    found = draw.draw(st.lists(names, min_size=count, max_size=count))
    if MADE[dump_type][0] == 1:
        return found
    values = texts if dump_type in SCORED else names
    return list(chain.from_iterable(zip(found, draw.draw(st.lists(values, min_size=count, max_size=count)), strict=True)))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(MADE)), st.data(), st.sampled_from([members, plain]))
def test_what_is_packed_is_what_the_kind_makes(dump_type: int, draw: st.DataObject, names: st.SearchStrategy[bytes]) -> None:
    read(dump_type, MADE[dump_type][1](words_of(dump_type, draw, names, 6)))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(MADE)), st.data(), st.randoms(use_true_random=False))
def test_damaged_bodies_are_read_alike(dump_type: int, draw: st.DataObject, rng: random.Random) -> None:
    data = bytearray(MADE[dump_type][1](words_of(dump_type, draw, plain, 4)))
    for _ in range(rng.randrange(1, 3)):
        place = rng.randrange(len(data))
        data[place] = rng.choice((0, 1, 2, 0x40, 0x7F, 0x81, 0xC0, 0xC3, 0xFD, 0xFE, 0xFF, rng.randrange(256)))
    read(dump_type, bytes(data))
    read(dump_type, bytes(data[: rng.randrange(len(data))]))
    read(dump_type, bytes(data) + b"\0")


@settings(max_examples=300)
@given(st.sampled_from(sorted(MADE)), st.binary(max_size=40))
def test_any_bodies_are_read_alike(dump_type: int, body: bytes) -> None:
    read(dump_type, body)


@pytest.mark.parametrize("dump_type", MADE)
def test_as_many_members_are_packed_as_a_packed_collection_has(dump_type: int) -> None:
    size, made = MADE[dump_type]
    for count in (1, 63, 64, 65, 66, 127, 128, 200):
        words = [b"%d" % (number * 7) for number in range(size * count)]
        # All scores are the same here, so that the members decide.
        words[1 :: 2 * (size - 1) or len(words)] = [b"1"] * len(words[1 :: 2 * (size - 1) or len(words)])
        assert (read(dump_type, made(words)) is None) == (count > 64), count


@pytest.mark.parametrize("dump_type", MADE)
def test_member_that_is_there_twice_is_packed_in_lists_alone(dump_type: int) -> None:
    size, made = MADE[dump_type]
    if dump_type != 11:
        words = [b"a", b"1", b"a", b"1"] if size == 2 else [b"a", b"a"]
        assert (read(dump_type, made(words)) is None) == (dump_type not in (1, 10, 14, 18))


def test_members_of_sorted_sets_come_in_order() -> None:
    words = [b"c", b"2", b"b", b"1.5", b"a", b"2", b"", b"2", b"d", b"-inf"]
    for dump_type in SCORED:
        assert read(dump_type, MADE[dump_type][1](words)) == "z\0d\1-inf\0b\x011.5\0\x012\0a\x012\0c\x012\0"


# Scores whose texts are near a border, or half way between two of 17 digits.
NEAR = [
    0.1,
    1e-4,
    1.5e-5,
    0.00012345,
    0.5,
    0.25,
    9.5,
    10.5,
    99999.5,
    2.0**52 - 0.5,
    2.0**51 - 0.25,
    0.3,
    1 / 3,
    2 / 3,
    1e15 + 0.5,
]
NEAR += [number / 2**bits for bits in range(1, 60, 3) for number in (1, 3, 5, 2**bits - 1, 2**bits + 1, 2**50 + 1)]
NEAR += [9.999999999999999e22, 99999999999999990.0, 1e16, 1e17, 123456789012345680.0, 0.99999999999999989, 9.9999999999999982]


@settings(max_examples=300)
@given(st.lists(st.floats(1e-6, 1e18) | st.floats(allow_nan=False) | st.integers(1, 2**60).map(lambda number: number / 1000)))
@example(NEAR)
def test_scores_are_written_as_python_writes_them(scores: list[float]) -> None:
    for number in (*scores, *(-score for score in scores)):
        text = b"%.17g" % number
        if text != b"-0":
            body = b"\1\1a" + struct.pack("<d", number)
            assert same("packed_of", body, b"zD", LIMIT) == f"z\0a\1{text.decode()}\0", number


def test_zero_with_a_sign_is_left() -> None:
    # Redis's listpacks lose the sign, so that Redis would hold a skip list.
    for text, wanted in ((b"0", "z\0a\x010\0"), (b"-0", None), (b"-0.0", None)):
        for dump_type in (3, 12, 17):
            assert read(dump_type, MADE[dump_type][1]([b"a", text])) == wanted
        assert read(5, b"\1\1a" + struct.pack("<d", float(text))) == wanted


def test_long_text_of_a_score_is_left() -> None:
    for digits, wanted in ((1, "1"), (64, "1.1111111111111112e+63"), (65, None)):
        words = [b"a", b"1" * digits]
        for dump_type in (3, 12, 17):
            packed = same("packed_of", MADE[dump_type][1](words), b"z" + FORMS[dump_type], LIMIT)
            assert packed == (f"z\0a\1{wanted}\0" if wanted else None)


def test_set_of_integers_is_an_intset() -> None:
    for words, mark in (([b"5", b"-70000"], "i"), ([b"5", b"-0"], "s"), ([b"5", b"%d" % 2**63], "s")):
        for dump_type in (2, 20):
            assert read(dump_type, MADE[dump_type][1](words)) == "\0".join([mark, *(word.decode() for word in words), ""])


def test_compressed_strings_are_read_up_to_the_limit() -> None:
    words = [b"ab" * 20, b"x" * 60] * 2
    block = dumps.compressed(write_listpack([*words[:2], b"y" * 60, b"1"]))[1:]
    assert read(16, block) == f"h\0{'ab' * 20}\1{'x' * 60}\0{'y' * 60}\x011\0"
    assert read(16, block, 100) is None
    strings = b"\2" + dumps.compressed(words[0])[1:] + dumps.compressed(words[1])[1:]
    assert read(2, strings) == f"s\0{'ab' * 20}\0{'x' * 60}\0"
    assert read(2, strings, 59) is None
    assert read(2, b"\1" + dumps.compressed(b"x" * 65)[1:]) is None


@pytest.mark.parametrize(("unused", "is_packed"), [(100, True), (254, False)])
def test_long_block_is_left(unused: int, is_packed: bool) -> None:
    # Behind each value some bytes are unused: Redis never leaves so many.
    block = blocks.zipmap([(b"%d" % number, b"v") for number in range(64)], unused)
    assert (same("packed_of", write_string(block), b"hM", LIMIT) is not None) == is_packed


BODIES = {
    b"hL": listpack([b"a", b"x" * 60, b"12", b"-7"]),
    b"zL": listpack([b"b", b"1.5", b"a", b"2", b"c", b"0.1"]),
    b"sS": counted(1, [b"a", b"12"]),
    b"lN": nodes([b"a", b"12", b"c", b"d"]),
    b"zT": texts_of([b"a", b"1.5"]),
}


@pytest.mark.parametrize("packing", BODIES)
def test_nothing_is_kept_and_memory_may_end(packing: bytes) -> None:
    body = BODIES[packing]
    whole = same("packed_of", body, packing, LIMIT)
    assert whole
    for form in forms("packed_of").values():
        assert_frees_all(partial(form, body, packing, LIMIT), body)
        assert_frees_all(partial(form, body[:-1], packing, LIMIT))
        assert_frees_all(partial(form, body.replace(b"1.5", b"1x5"), packing, LIMIT))
    leaf = forms("packed_of").get("compiled")
    if leaf is not None:
        ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(body, packing, LIMIT)))]
        assert all(found in (None, whole) for found in ended)
        assert ended[-1] == whole
        mistakes: list[tuple[object, ...]] = [(), (body, packing), (body, b"h", 1), (body, b"xL", 1), (body, b"h\0", 1)]
        for wrong in [*mistakes, (bytearray(body), packing, 1), (body, packing, "1")]:
            with pytest.raises(TypeError):
                leaf(*wrong)
