"""Collections are read in all types of all versions, and written as redis-server writes them; redis-server is the judge."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import blocks, dumps
from helpers.servers import ServerProcess, Wire
from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.errors import DumpInvalid
from kvserver.formats import rdb_collections
from kvserver.formats.rdb import BAD_FORMAT
from kvserver.formats.rdb_collections import (
    EXPIRING_HASH_TYPES,
    HASH,
    HASH_LISTPACK,
    HASH_LISTPACK_EX,
    HASH_LISTPACK_EX_PRE_GA,
    HASH_METADATA,
    HASH_METADATA_PRE_GA,
    HASH_TYPES,
    HASH_ZIPLIST,
    HASH_ZIPMAP,
    LIST,
    LIST_QUICKLIST,
    LIST_QUICKLIST_2,
    LIST_TYPES,
    LIST_ZIPLIST,
    SET,
    SET_INTSET,
    SET_LISTPACK,
    SET_TYPES,
    ZSET,
    ZSET_2,
    ZSET_LISTPACK,
    ZSET_TYPES,
    ZSET_ZIPLIST,
    read_expiring_hash,
    read_hash,
    read_list,
    read_set,
    read_zset,
    write_expiring_hash,
    write_hash,
    write_list,
    write_set,
    write_zset,
)

# For a longer campaign; a failure prints the seed to begin with.
DAMAGES = int(os.environ.get("KVSERVER_DUMP_DAMAGES", "200"))
SEED = int(os.environ.get("KVSERVER_DUMP_DAMAGES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LIMIT = 1 << 20
FOOTER_BYTES = 10


def zset_pairs(dump_type: int, body: bytes, max_bytes: int) -> list[tuple[bytes, float]]:
    return list(zip(*read_zset(dump_type, body, max_bytes), strict=True))


def hash_pairs(dump_type: int, body: bytes, max_bytes: int) -> list[tuple[bytes, bytes]]:
    return list(read_hash(dump_type, body, max_bytes).items())


def expiring_triples(dump_type: int, body: bytes, max_bytes: int) -> list[tuple[bytes, bytes, int | None]]:
    fields, deadlines = read_expiring_hash(dump_type, body, max_bytes)
    assert deadlines.keys() <= fields.keys()
    return [(field, value, deadlines.get(field)) for field, value in fields.items()]


READERS: dict[int, Callable[[int, bytes, int], list[Any]]] = {
    **dict.fromkeys(LIST_TYPES, read_list),
    **dict.fromkeys(SET_TYPES, read_set),
    **dict.fromkeys(ZSET_TYPES, zset_pairs),
    **dict.fromkeys(HASH_TYPES, hash_pairs),
    **dict.fromkeys(EXPIRING_HASH_TYPES, expiring_triples),
}


def read(body: bytes, max_bytes: int = LIMIT) -> list[Any]:
    """The members of a type and a body."""
    return READERS[body[0]](body[0], body[1:], max_bytes)


# Members that have something to do with the borders of encodings.
MEMBERS = [
    *(b"", b"a", b"\0\xff\x80", b"-0", b"01", b"x" * 63, b"x" * 64, b"y" * 300, b"z" * 5_000),
    *(b"%d" % (sign * (1 << bits) + near) for bits in (7, 8, 12, 15, 23, 31, 62) for sign in (1, -1) for near in (-1, 0)),
]
SCORES = [-inf, -1e300, -1e19, -(2.0**62), -1.5, 0.0, 5e-324, 0.1, 1.0, 127.0, 3e9, 1e16, 1e17, 2.0**62, 2.0**62 + 1024, inf]
INTEGERS = [b"%d" % number for number in (-(1 << 63), -70_000, -1, 0, 5, 32_767, 40_000, (1 << 63) - 1)]
ordinary = st.binary(max_size=12) | st.integers(-70_000, 70_000).map(b"%d".__mod__) | st.sampled_from(MEMBERS)
fields_and_values = st.dictionaries(ordinary, ordinary, min_size=1, max_size=20)


@pytest.fixture
def wire(redis_oracle: ServerProcess) -> Iterator[Wire]:
    """A connection to a redis-server that looks at payloads as closely as it can, and compresses nothing."""
    with redis_oracle.connect() as wire:
        assert wire.value("CONFIG", "SET", "sanitize-dump-payload", "yes", "rdbcompression", "no") == b"OK"
        yield wire


@contextmanager
def options(wire: Wire, *words: str | int) -> Iterator[None]:
    """Other values of options, by name and value in turn, for a while."""
    before = [wire.value("CONFIG", "GET", str(name)) for name in words[::2]]
    assert wire.value("CONFIG", "SET", *words) == b"OK"
    yield
    assert wire.value("CONFIG", "SET", *chain.from_iterable(before)) == b"OK"


def dumped(wire: Wire) -> bytes:
    """What the server dumps of the key, without the footer."""
    return bytes(wire.value("DUMP", "k")[:-FOOTER_BYTES])


def restored(wire: Wire, body: bytes) -> Any:
    """The server's members of a key that it restores from a type and a body, or the error of that."""
    wire.value("DEL", "k")
    answer = wire.value("RESTORE", "k", 0, dumps.sealed(body))
    if answer != b"OK":
        return str(answer)
    kind = wire.value("TYPE", "k")
    if kind == b"list":
        return wire.value("LRANGE", "k", 0, -1)
    if kind == b"set":
        return sorted(wire.value("SMEMBERS", "k"))
    found = wire.value("HGETALL", "k") if kind == b"hash" else wire.value("ZRANGE", "k", 0, -1, "WITHSCORES")
    pairs = list(zip(found[::2], found[1::2], strict=True))
    return sorted(pairs) if kind == b"hash" else [(member, float(score)) for member, score in pairs]


@pytest.mark.parametrize("dump_type", [HASH_METADATA, HASH_LISTPACK_EX])
@given(st.dictionaries(ordinary, st.tuples(ordinary, st.none() | st.integers(1, (1 << 48) - 1)), min_size=1, max_size=20))
def test_hash_with_fields_that_expire_is_read_as_it_was_written(
    dump_type: int, fields: dict[bytes, tuple[bytes, int | None]]
) -> None:
    # One field expires at least.
    some = [(b"", b"", 5), *((b"f" + field, value, time_ms) for field, (value, time_ms) in fields.items())]
    found = read(write_expiring_hash(dump_type, some))
    assert sorted(found) == sorted(some)
    if dump_type == HASH_LISTPACK_EX:
        assert found == sorted(found, key=lambda each: each[2] or inf), "Redis looks for what is due at the beginning"


@pytest.mark.parametrize("compression", ["no", "yes"])
@pytest.mark.parametrize(("largest", "dump_type"), [(1_000, HASH_LISTPACK), (1, HASH)])
def test_hash_is_read_and_written_as_by_redis(wire: Wire, compression: str, largest: int, dump_type: int) -> None:
    pairs = [(field, value + b"repeated" * 9) for field, value in zip(MEMBERS, reversed(MEMBERS), strict=True)]
    with options(wire, "hash-max-listpack-entries", largest, "hash-max-listpack-value", 6_000, "rdbcompression", compression):
        wire.value("HSET", "k", *chain.from_iterable(pairs))
        body = dumped(wire)
    assert body[0] == dump_type
    found = read(body)
    assert sorted(found) == sorted(pairs)
    if compression == "no":
        assert write_hash(dump_type, found) == body
    assert restored(wire, write_hash(dump_type, pairs)) == sorted(pairs)


@pytest.mark.parametrize(("members", "dump_type"), [(INTEGERS, SET_INTSET), (MEMBERS, SET)])
def test_set_is_read_and_written_as_by_redis(wire: Wire, members: list[bytes], dump_type: int) -> None:
    wire.value("SADD", "k", *members)
    body = dumped(wire)
    found = read(body)
    assert sorted(found) == sorted(members)
    assert body[0] == dump_type
    assert write_set(dump_type, found) == body
    assert restored(wire, write_set(dump_type, reversed(members))) == sorted(members)


@pytest.mark.parametrize(("largest", "dump_type"), [(1_000, ZSET_LISTPACK), (1, ZSET_2)])
def test_sorted_set_is_read_and_written_as_by_redis(wire: Wire, largest: int, dump_type: int) -> None:
    pairs = [(member, SCORES[index % len(SCORES)]) for index, member in enumerate(MEMBERS)]
    with options(wire, "zset-max-listpack-entries", largest, "zset-max-listpack-value", 6_000):
        wire.value("ZADD", "k", *chain.from_iterable((b"%.17g" % score, member) for member, score in pairs))
        body = dumped(wire)
    pairs.sort(key=lambda pair: (pair[1], pair[0]))
    assert body[0] == dump_type
    assert read(body) == pairs
    assert write_zset(dump_type, pairs) == body
    assert restored(wire, body) == pairs


def test_only_a_table_keeps_the_sign_of_zero_as_in_redis(wire: Wire) -> None:
    for largest, dump_type, score in ((1_000, ZSET_LISTPACK, "0.0"), (0, ZSET_2, "-0.0")):
        with options(wire, "zset-max-listpack-entries", largest):
            wire.value("DEL", "k")
            wire.value("ZADD", "k", "-0.0", "a")
            assert dumped(wire) == write_zset(dump_type, [(b"a", -0.0)])
        assert repr(read(write_zset(dump_type, [(b"a", -0.0)]))) == f"[(b'a', {score})]"


@pytest.mark.parametrize(
    "values",
    [
        [b"a"],
        MEMBERS,
        [b"element %d" % index for index in range(3_000)],
        [b"x" * 8_170, b"a", b"x" * 8_177, b"b", b"x" * 8_178, b"c", b"x" * 20_000, b"", b"1"],
        [b"x" * (index * 97 % 4_099) for index in range(99)],
        [b"1"] * 5_000,
    ],
    ids=["one", "borders", "many", "long", "mixed", "integers"],
)
def test_list_is_read_and_written_in_nodes_as_by_redis(wire: Wire, values: list[bytes]) -> None:
    wire.value("RPUSH", "k", *values)
    body = dumped(wire)
    assert body[0] == LIST_QUICKLIST_2
    assert read(body) == values
    assert write_list(values) == body


def test_list_of_very_long_elements_has_plain_nodes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [b"a", b"b" * 99, b"c", b"1" * 100, b"d" * 101, b"e"]
    assert wire.value("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b") == b"OK"
    wire.value("RPUSH", "k", *values)
    body = dumped(wire)
    assert restored(wire, body) == values
    assert wire.value("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "1G") == b"OK"
    assert read(body) == values
    monkeypatch.setattr(rdb_collections, "_PLAIN_FROM_BYTES", 100)
    assert write_list(values) == body


def block(dump_type: int, *contents: bytes) -> bytes:
    """The type and the body of a collection that is one block, or of a list of such."""
    count = write_length(len(contents)) if dump_type in (LIST_QUICKLIST, LIST_QUICKLIST_2) else b""
    return bytes((dump_type,)) + count + b"".join(map(write_string, contents))


def table(dump_type: int, count: int, *parts: bytes) -> bytes:
    return bytes((dump_type,)) + write_length(count) + b"".join(parts)


def text(value: bytes) -> bytes:
    """A string in the body of a table."""
    return write_string(value)


ZIPLIST_INTEGERS, DECIMALS = zip(*blocks.ZIPLIST_INTEGERS, strict=True)
STRINGS = [b"", b"two", b"x" * 300, b"y" * 20_000]
OF_STRINGS = list(map(blocks.ziplist_string, STRINGS))
SCORED = blocks.ziplist([b"\1b", b"\xf1", b"\1a", b"\xf2", b"\1c", b"\x032.5", b"\1d", b"\x03inf"])
# What earlier versions of Redis wrote, and its members.
OLD = [
    (table(LIST, 3, text(b"a"), text(b"12"), text(b"a")), [b"a", b"12", b"a"]),
    (block(LIST_ZIPLIST, blocks.ziplist([*OF_STRINGS, *ZIPLIST_INTEGERS])), [*STRINGS, *DECIMALS]),
    (block(LIST_ZIPLIST, blocks.ziplist(OF_STRINGS, long_from=4)), STRINGS),
    (
        block(LIST_QUICKLIST, blocks.ziplist(OF_STRINGS), blocks.ziplist([]), blocks.ziplist(ZIPLIST_INTEGERS, count=65_535)),
        [*STRINGS, *DECIMALS],
    ),
    (bytes((LIST_ZIPLIST,)) + dumps.compressed(blocks.ziplist([b"\x0crepeatrepeat"] * 9))[1:], [b"repeatrepeat"] * 9),
    (block(SET_INTSET, blocks.intset([-3, 0, 7], 8)), [b"-3", b"0", b"7"]),
    (table(SET, 2, text(b"b"), text(b"7")), [b"b", b"7"]),
    (block(HASH_ZIPMAP, blocks.zipmap([(b"f", b"v"), (b"g" * 300, b"w" * 254)], 3)), [(b"f", b"v"), (b"g" * 300, b"w" * 254)]),
    (block(HASH_ZIPLIST, blocks.ziplist([b"\1f", b"\xf1", b"\xf2", b"\1f"])), [(b"f", b"0"), (b"1", b"f")]),
    (block(ZSET_ZIPLIST, SCORED), [(b"b", 0.0), (b"a", 1.0), (b"c", 2.5), (b"d", inf)]),
    (
        table(ZSET, 4, text(b"b"), b"\x041e-1", text(b"d"), b"\xfe", text(b"c"), b"\xff", text(b"e"), b"\x03inf"),
        [(b"c", -inf), (b"b", 0.1), (b"d", inf), (b"e", inf)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "members"), OLD)
def test_what_earlier_versions_wrote_is_read_as_by_redis(wire: Wire, body: bytes, members: list[Any]) -> None:
    assert read(body) == members
    assert restored(wire, body) == (sorted(members) if body[0] in (*HASH_TYPES, *SET_TYPES) else members)


EARLIEST = struct.pack("<q", 1_700_000_000_000)
OF_TIMES = text(blocks.listpack([b"\x81f", b"\x81v", b"\xf4" + EARLIEST, b"\x81g", b"\1", b"\0"]))
EXPIRING = [
    table(HASH_METADATA_PRE_GA, 2, b"\x81" + EARLIEST[::-1], text(b"f"), text(b"v"), b"\0", text(b"g"), text(b"1")),
    bytes((HASH_METADATA,)) + EARLIEST + b"\2" + b"\1" + text(b"f") + text(b"v") + b"\0" + text(b"g") + text(b"1"),
    bytes((HASH_LISTPACK_EX_PRE_GA,)) + OF_TIMES,
    bytes((HASH_LISTPACK_EX,)) + EARLIEST + OF_TIMES,
]


@pytest.mark.parametrize("body", EXPIRING)
def test_fields_that_expire_are_read_with_their_times(body: bytes) -> None:
    assert read(body) == [(b"f", b"v", 1_700_000_000_000), (b"g", b"1", None)]


def test_times_are_relative_to_the_earliest_one() -> None:
    start = bytes((HASH_METADATA,)) + struct.pack("<q", 1_000)
    assert read(start + b"\2" + b"\1" + text(b"f") + text(b"v") + write_length(501) + text(b"g") + text(b"w")) == [
        (b"f", b"v", 1_000),
        (b"g", b"w", 1_500),
    ]


def test_set_of_a_later_redis_is_read() -> None:
    assert read(block(SET_LISTPACK, blocks.listpack([b"\x81b", b"\7", b"\x81a"]))) == [b"b", b"7", b"a"]


TWICE = [b"\x81f", b"\1", b"\x81f", b"\2"]
ODD = [b"\x81f", b"\1", b"\x81g"]
LISTPACK = blocks.listpack([b"\x81a", b"\x811"])
# What redis-server refuses, too.
REFUSED = [
    *(table(dump_type, 0) for dump_type in (LIST, SET, HASH, ZSET, ZSET_2, LIST_QUICKLIST, LIST_QUICKLIST_2)),
    *(block(dump_type, blocks.ziplist([])) for dump_type in (LIST_ZIPLIST, LIST_QUICKLIST, HASH_ZIPLIST, ZSET_ZIPLIST)),
    *(block(dump_type, blocks.listpack([])) for dump_type in (HASH_LISTPACK, ZSET_LISTPACK)),
    *(block(HASH_ZIPMAP, blocks.zipmap([])), block(SET_INTSET, blocks.intset([], 2))),
    *(block(dump_type, blocks.listpack(entries)) for dump_type in (HASH_LISTPACK, ZSET_LISTPACK) for entries in (TWICE, ODD)),
    *(
        block(dump_type, blocks.ziplist(entries))
        for dump_type in (HASH_ZIPLIST, ZSET_ZIPLIST)
        for entries in ([b"\1f", b"\xf1"] * 2, [b"\1f", b"\xf1", b"\1g"])
    ),
    block(HASH_ZIPMAP, blocks.zipmap([(b"f", b"v"), (b"f", b"w")])),
    *(table(SET, 2, text(b"a"), text(b"a")), table(HASH, 2, *map(text, (b"a", b"b", b"a", b"c")))),
    *(table(ZSET_2, 2, *(text(b"a") + struct.pack("<d", score) for score in (1, 2))), table(ZSET, 1, text(b"a") + b"\xfd")),
    table(ZSET_2, 1, text(b"a") + struct.pack("<d", nan)),
    *(block(SET_INTSET, blocks.intset(numbers, 2)) for numbers in ([2, 1], [1, 1])),
    # Nodes of unknown kinds, without content, and with another content than they say.
    *(bytes((LIST_QUICKLIST_2, 1, kind)) + text(LISTPACK) for kind in (0, 3, 63)),
    *(bytes((LIST_QUICKLIST_2, 1, kind, 0)) for kind in (1, 2)),
    *(bytes((LIST_QUICKLIST_2, 1, 2)) + text(blocks.ziplist([b"\1a"])), block(LIST_QUICKLIST, LISTPACK), b"\x12\1\2\1a"),
    *(block(dump_type, b"") for dump_type in (LIST_ZIPLIST, SET_INTSET, HASH_ZIPMAP, HASH_LISTPACK, ZSET_LISTPACK)),
    # Counts and lengths that nothing could have.
    *(
        bytes((dump_type,)) + b"\xc3\3\x81\x3f" + b"\xff" * 7 + b"\1ab"
        for dump_type in (LIST_ZIPLIST, SET_INTSET, HASH_LISTPACK)
    ),
    *(bytes((dump_type,)) + b"\x81" + b"\xff" * 8 + b"\1a" * 9 for dump_type in (LIST, SET, HASH, ZSET, ZSET_2, 14, 18)),
    *(bytes((dump_type,)) + b"\x81\x7f" + b"\xff" * 7 + b"\1a" * 9 for dump_type in (HASH_LISTPACK, SET_INTSET, 10)),
    *(bytes((dump_type,)) + b"\xc0\1\1a\1b" for dump_type in (LIST, HASH)),
]


def test_what_redis_refuses_is_refused(wire: Wire) -> None:
    for body in REFUSED:
        assert restored(wire, body) == f"ERR {BAD_FORMAT}", body
        with pytest.raises(DumpInvalid, match=BAD_FORMAT):
            read(body)


SCORE_TEXTS = (b"", b"nan", b"1_0", b" 1", b"1 ", b"abc", b"infinity", b"0x10", b"1e", b"--1", b".")
TIMES = (b"\x81x", b"\xf4" + b"\xff" * 8, b"\xf4" + struct.pack("<q", 1 << 48), b"\xb01" + b"0" * 47)


@pytest.mark.parametrize(
    "body",
    [
        # What stands behind a value, redis-server does not look at.
        *(body + b"\0" for body, _ in OLD),
        *(body + b"\0" for body in EXPIRING),
        # Scores that redis-server takes for 0, or for what their beginning says.
        *(block(ZSET_LISTPACK, blocks.listpack([b"\x81a", blocks.listpack_string(score)])) for score in SCORE_TEXTS),
        *(table(ZSET, 1, text(b"a"), bytes((len(score),)), score) for score in SCORE_TEXTS),
        block(SET_LISTPACK, blocks.listpack([])),
        block(SET_LISTPACK, blocks.listpack([b"\1", b"\xc0\1"])),
        # Fields that expire: none, one twice, a part of one, and times that are none.
        *(table(HASH_METADATA_PRE_GA, 0), block(HASH_LISTPACK_EX_PRE_GA, blocks.listpack([]))),
        table(HASH_METADATA_PRE_GA, 2, *[b"\0" + text(b"f") + text(b"v")] * 2),
        block(HASH_LISTPACK_EX_PRE_GA, blocks.listpack([b"\x81f", b"\1", b"\0"] * 2)),
        block(HASH_LISTPACK_EX_PRE_GA, blocks.listpack([b"\x81f", b"\1"])),
        *(block(HASH_LISTPACK_EX_PRE_GA, blocks.listpack([b"\x81f", b"\1", time])) for time in TIMES),
        table(HASH_METADATA_PRE_GA, 1, write_length(1 << 48), text(b"f"), text(b"v")),
        bytes((HASH_METADATA,)) + struct.pack("<Q", (1 << 64) - 1) + b"\1\1" + text(b"f") + text(b"v"),
        bytes((HASH_LISTPACK_EX,)) + b"\0" * 7,
    ],
)
def test_what_only_this_server_refuses(body: bytes) -> None:
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        read(body)


@settings(max_examples=30)
@given(fields_and_values)
def test_hash_that_was_written_is_read(pairs: dict[bytes, bytes]) -> None:
    for dump_type in (HASH, HASH_LISTPACK):
        assert read(write_hash(dump_type, pairs.items())) == list(pairs.items())


@settings(max_examples=30)
@given(st.lists(ordinary, min_size=1))
@example([b"a"] * 65_536)
def test_list_that_was_written_is_read(values: list[bytes]) -> None:
    assert read(write_list(values)) == values


@settings(max_examples=30)
@given(st.sets(ordinary, min_size=1), st.sets(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1))
def test_set_that_was_written_is_read(members: set[bytes], numbers: set[int]) -> None:
    assert read(write_set(SET, iter(members))) == list(members)
    assert read(write_set(SET_INTSET, map(b"%d".__mod__, numbers))) == [b"%d" % number for number in sorted(numbers)]


@settings(max_examples=30)
@given(st.dictionaries(ordinary, st.floats(allow_nan=False), min_size=1))
def test_sorted_set_that_was_written_is_read(scores: dict[bytes, float]) -> None:
    pairs = sorted(scores.items(), key=lambda pair: (pair[1], pair[0]))
    for dump_type in (ZSET_2, ZSET_LISTPACK):
        assert read(write_zset(dump_type, iter(pairs))) == pairs


def test_compressed_block_longer_than_allowed_is_not_made() -> None:
    content = blocks.listpack([blocks.listpack_string(b"a" * 3_000)])
    body = bytes((LIST_QUICKLIST_2, 1, 2)) + dumps.compressed(content)[1:]
    assert read(body, len(content)) == [b"a" * 3_000]
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        read(body, len(content) - 1)


# Bodies of all types, to be damaged.
WHOLE = [
    *(body for body, _ in OLD if len(body) < 1_000),
    *EXPIRING,
    *(
        write_hash(HASH_LISTPACK, [(b"f", b"v"), (b"g", b"1")]),
        write_set(SET_INTSET, [b"5", b"70000"]),
        write_list(MEMBERS[:5]),
    ),
    *(write_zset(dump_type, [(b"a", 1.5), (b"b", 2.0)]) for dump_type in (ZSET_2, ZSET_LISTPACK)),
    block(SET_LISTPACK, LISTPACK),
]


def is_well_formed(members: list[Any]) -> bool:
    names = [member[0] if isinstance(member, tuple) else member for member in members]
    scores = [member[1] for member in members if isinstance(member, tuple)]
    return bool(members) and all(type(name) is bytes for name in names) and nan not in scores


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """The body with up to three changes: a bit flipped, a byte that means much, bytes missing, bytes put in."""
    body = bytearray(whole)
    for _ in range(chance.randint(1, 3)):
        position = chance.randrange(1, len(body))
        change = chance.randrange(4)
        if change == 0:
            body[position] ^= 1 << chance.randrange(8)
        elif change == 1:
            body[position] = chance.choice((0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xFE, 0xFF))
        elif change == 2 and len(body) > position + 3:
            del body[position : position + chance.randint(1, 3)]
        else:
            body[position:position] = chance.randbytes(chance.randint(1, 3))
    return bytes(body)


def test_damaged_body_is_read_or_refused() -> None:
    for seed in range(SEED, SEED + 10 * DAMAGES):
        chance = random.Random(seed)
        body = damaged(chance.choice(WHOLE), chance)
        try:
            is_right = is_well_formed(read(body))
        except DumpInvalid as error:
            is_right = str(error) == BAD_FORMAT
        except Exception as error:
            raise AssertionError(f"KVSERVER_DUMP_DAMAGES_SEED={seed} {body!r}") from error
        assert is_right, f"KVSERVER_DUMP_DAMAGES_SEED={seed} {body!r}"


def test_damaged_body_that_is_read_is_read_so_by_redis(wire: Wire) -> None:
    bodies = [body for body in WHOLE if body[0] not in (SET_LISTPACK, *EXPIRING_HASH_TYPES)]
    for seed in range(SEED, SEED + DAMAGES):
        chance = random.Random(seed)
        body = damaged(chance.choice(bodies), chance)
        with suppress(DumpInvalid):
            # A sorted set in a block that is not in order stays so in redis-server.
            assert sorted(read(body)) == sorted(restored(wire, body)), f"KVSERVER_DUMP_DAMAGES_SEED={seed} {body!r}"


def test_nothing_is_allocated_that_was_only_declared() -> None:
    tracemalloc.start()
    try:
        for body in REFUSED:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            with suppress(DumpInvalid):
                read(body, 1 << 62)
            assert tracemalloc.get_traced_memory()[1] - before < 100_000, body
    finally:
        tracemalloc.stop()


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=60))
def test_any_body_is_read_or_refused(dump_type: int, body: bytes) -> None:
    with suppress(DumpInvalid):
        assert is_well_formed(READERS[dump_type](dump_type, body, LIMIT))


@pytest.mark.parametrize("body", WHOLE)
def test_cut_body_is_refused(body: bytes) -> None:
    for length in range(1, len(body)):
        with pytest.raises(DumpInvalid, match=BAD_FORMAT):
            read(body[:length])
