"""RDB files, damaged anywhere: each is refused by RDBInvalid or read, in bounded memory and time, and by no other exception.

KVSERVER_RDB_DAMAGES files are made, some thousand a minute, from KVSERVER_RDB_DAMAGES_SEED on. Half of them get a checksum
that is right for what they are now, so that the damage is not found by it. What is read of such a file is written again, too.
"""

from __future__ import annotations

import os
import random
import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from functools import cache

from helpers import blocks, dumps
from helpers.rdb_files import aux, database, entry, pieces, rdb_file, string
from kvserver._speedups.crc64 import crc64
from kvserver.data.databases import Databases
from kvserver.errors import RDBInvalid
from kvserver.formats.rdb import dump
from kvserver.formats.rdb_collections import HASH_LISTPACK_EX, HASH_METADATA, write_expiring_hash
from kvserver.formats.rdb_file import RDBEntry, RDBReader
from kvserver.formats.rdb_module import write_module_string
from kvserver.formats.rdb_writer import encode_rdb
from kvserver.types import TAGGED
from kvserver.types.stream.stream import Stream

DAMAGES = int(os.environ.get("KVSERVER_RDB_DAMAGES", "400"))
SEED = int(os.environ.get("KVSERVER_RDB_DAMAGES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
# The files have some kilobytes. What is compressed in them may become some hundred times as long.
MOST_BYTES = 3_000_000
MOST_S = 5.0
CHECKSUM_BYTES = 8

STRINGS = [b"a", b"", b"12", b"x" * 70, b"-5", b"member"]


def _stream() -> bytes:
    stream = Stream()
    for number in range(20):
        stream.entries.add((1_000 + number, 1), [b"a", b"%d" % number] if number % 3 else [b"b", b"", b"c", b"d"], 6, 4_096)
    stream.last_id, stream.added = (1_019, 1), 20
    body = dump(stream)[:-10]
    # The last byte is the count of groups: one, with a pending entry of its consumer.
    key = (1_001).to_bytes(8, "big") + (1).to_bytes(8, "big")
    group = string(b"g") + b"\x43\xe9\1\2" + b"\1" + key + bytes(8) + b"\1" + b"\1" + string(b"c") + bytes(8) + b"\1" + key
    assert body[-1:] == b"\0"
    return body[:-1] + b"\1" + group


@cache
def bodies() -> list[bytes]:
    """A value of each type, old ones, too."""
    listed = blocks.listpack([blocks.listpack_string(each) for each in STRINGS])
    zipped = blocks.ziplist([blocks.ziplist_string(each) for each in STRINGS])
    scores = blocks.ziplist([blocks.ziplist_string(each) for each in (b"a", b"1.5", b"b", b"inf")])
    many = b"".join(map(string, STRINGS))
    count = dumps.length(len(STRINGS))
    times = [(b"a", b"1", 5_000), (b"b", b"2", None), (b"c" * 80, b"3", 6_000)]
    return [
        dumps.plain(b"text"),
        dumps.integer(70_000, 4),
        dumps.compressed(b"kvserver " * 100),
        b"\1" + count + many,
        b"\2" + count + many,
        b"\3\3" + string(b"a") + b"\x031.5" + string(b"b") + b"\xfe" + string(b"c") + b"\xff",
        b"\4" + dumps.length(len(STRINGS) // 2) + many,
        b"\5\2" + string(b"a") + bytes(8) + string(b"b") + b"\0" * 6 + b"\xf0\x3f",
        b"\x09" + string(blocks.zipmap([(b"a", b"1"), (b"b", b"x" * 300)])),
        b"\x0a" + string(zipped),
        b"\x0b" + string(blocks.intset([-5, 3, 70_000], 4)),
        b"\x0c" + string(scores),
        b"\x0d" + string(zipped),
        b"\x0e\2" + string(zipped) + string(zipped),
        b"\x10" + string(listed),
        b"\x11" + string(blocks.listpack([blocks.listpack_string(each) for each in (b"a", b"1.5", b"b", b"inf")])),
        b"\x12\3\2" + string(listed) + b"\1" + string(b"plain") + b"\2" + string(listed),
        b"\x14" + string(listed),
        write_expiring_hash(HASH_METADATA, times),
        write_expiring_hash(HASH_LISTPACK_EX, times),
        _stream(),
        write_module_string("ReJSON-RL", 3, b'{"a":[1,2.5,null,"x"]}'),
    ]


def sound_parts(rng: random.Random) -> list[bytes]:
    """The parts of a file that is right."""
    parts = [aux(b"redis-ver", b"7.0.15"), b"\xf5" + string(b"#!lua name=f\n"), database(0) + b"\xfb\x16\x02"]
    parts.append(b"\xf7\x81" + (77 << 10 | 1).to_bytes(8, "big") + b"\2\1\5" + string(b"aux") + b"\4" + bytes(8) + b"\0")
    for number, body in enumerate(bodies()):
        head = rng.choice((b"", b"", b"\xfc" + (2**41).to_bytes(8, "little"), b"\xf8\5", b"\xf9\7", b"\xfd\1\1\1\1"))
        parts.append(head + entry(b"key:%d" % number, body))
    parts.insert(rng.randrange(4, len(parts)), database(rng.randrange(16)))
    return parts


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 10))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _put(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xC0, 0xC3, 0xFE, 0xFF))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _splice(rng: random.Random, data: bytearray) -> None:
    start, other = rng.randrange(len(data)), rng.randrange(len(data))
    data[other:other] = data[start : start + rng.choice((1, 5, 50, 500))]


def _remove(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 9, 100))]


def _forge(rng: random.Random, data: bytearray) -> None:
    """Put a great length or count in the place of some bytes."""
    number = rng.choice((2**20, 2**29, 2**31, 2**32 - 1, 2**48, 2**63, 2**64 - 1))
    length = dumps.length(number, 9) if number >> 32 or rng.random() < 0.3 else dumps.length(number, 5)
    start = rng.randrange(len(data))
    data[start : start + rng.choice((0, 1, len(length)))] = rng.choice((b"", b"\xc3\x02", b"\xc3")) + length


DAMAGE: tuple[Callable[[random.Random, bytearray], None], ...] = (_flip, _flip, _put, _cut, _splice, _remove, _forge, _forge)


def damaged(rng: random.Random) -> bytes:
    """A file that was right, with some damage, and half of the time with a checksum that hides it."""
    parts = sound_parts(rng)
    if rng.random() < 0.5:
        # One value alone, so that damage is where something is.
        parts = [rng.choice(parts)]
    data = bytearray(rdb_file(*parts, checksum=0))
    for _ in range(rng.choice((1, 1, 1, 3))):
        if data:
            rng.choice(DAMAGE)(rng, data)
    if rng.random() < 0.5 and len(data) > CHECKSUM_BYTES:
        data[-CHECKSUM_BYTES:] = crc64(bytes(data[:-CHECKSUM_BYTES])).to_bytes(CHECKSUM_BYTES, "little")
    return bytes(data)


def reason(text: str) -> str:
    """Why a file was refused, without what is of this file alone."""
    assert "\n" not in text
    assert ", at byte " in text
    return re.sub(r"b'.*'|b\".*\"|[0-9]+", "_", text.rpartition(", at byte ")[0])


def outcome(data: bytes, rng: random.Random) -> str:
    """What comes of a file: it is read, or refused. Whatever was read is a value that can be written."""
    reader = RDBReader(max_string_bytes=1 << 20, in_steps=rng.random() < 0.5)
    found: list[RDBEntry] = []
    try:
        for piece in pieces(data, rng):
            for item in reader.feed(piece):
                if isinstance(item, RDBEntry) and item.database < 16:
                    found.append(item)
                    TAGGED.encode_entry(item.value)
        reader.end()
    except RDBInvalid as error:
        return reason(str(error))
    databases = Databases(lambda: 0)
    for item in found:
        databases[item.database].put(item.key, item.value, item.expires_at_ms)
    again = RDBReader()
    keys = sum(isinstance(item, RDBEntry) for item in again.feed(b"".join(encode_rdb(databases.cut().cuts, {}, []))))
    again.end()
    assert keys == databases.key_count
    return "read"


def test_sound_files_are_read() -> None:
    rng = random.Random(SEED)
    assert outcome(rdb_file(*sound_parts(rng)), rng) == "read"


def test_damaged_files_are_refused_or_read_and_do_no_harm() -> None:
    print(f"KVSERVER_RDB_DAMAGES_SEED={SEED}")
    # What is made when it is first needed is no file's.
    outcome(rdb_file(*sound_parts(random.Random(0))), random.Random(0))
    outcomes: Counter[str] = Counter()
    most_bytes = 0
    for number in range(DAMAGES):
        seed = f"{SEED}:{number}"
        rng = random.Random(seed)
        data = damaged(rng)
        is_measured = number % 4 == 0
        if is_measured:
            tracemalloc.start()
        started_s = time.process_time()
        try:
            outcomes[outcome(data, rng)] += 1
            peak_bytes = tracemalloc.get_traced_memory()[1] if is_measured else 0
        except BaseException as error:
            raise AssertionError(f"file {seed}: {data!r}") from error
        finally:
            tracemalloc.stop()
        assert time.process_time() - started_s < MOST_S, f"file {seed} takes too long"
        assert peak_bytes < MOST_BYTES, f"file {seed} takes {peak_bytes} bytes"
        most_bytes = max(most_bytes, peak_bytes)
    print(dict(outcomes), f"{most_bytes} bytes at most")
    # Most damage is found, and where it is not, it is in what a string or a score may be.
    assert outcomes["read"] < DAMAGES * 2 // 3
    assert outcomes.total() == DAMAGES
