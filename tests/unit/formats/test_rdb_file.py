"""RDB files are read in whatever pieces they come, and what is none is refused by one line that says where."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest

from helpers import dumps
from helpers.rdb_files import aux, database, entries, entry, rdb_file, read, string
from kvserver.errors import RDBInvalid
from kvserver.formats.codec import JSONText
from kvserver.formats.rdb import NEWEST_VERSION_READ, dump
from kvserver.formats.rdb_file import RDBAux, RDBEntry, RDBLibrary, RDBReader, RDBSizes, RDBStep
from kvserver.formats.rdb_module import write_module_string
from kvserver.types.set.value import SET

LATER_MS = 1_900_000_000_123
MODULE_ID = b"\x81" + (5 << 10 | 1).to_bytes(8, "big")
STEPS = (None, 1, 2, 3, 1_000)

EVERYTHING = (
    aux(b"redis-ver", b"7.0.15"),
    b"\xfa" + string(b"ctime") + b"\xc2" + (1_700_000_000).to_bytes(4, "little"),
    # What modules have saved about the whole, and about the key that comes.
    b"\xf7" + MODULE_ID + b"\2\1" + b"\5" + string(b"saved") + b"\0",
    b"\xf5" + string(b"#!lua name=f\n"),
    database(0) + b"\xfb\x05\x02",
    b"\xf4\x01\x05\x02",
    entry(b"plain", dumps.plain(b"text")),
    b"\xfc" + LATER_MS.to_bytes(8, "little") + entry(b"later", dumps.integer(-5, 1)),
    b"\xfd" + (1_900_000_000).to_bytes(4, "little") + b"\xf8\x41\x00" + entry(b"idle", dumps.compressed(b"ab" * 500)),
    b"\xf9\xff" + entry(b"often", dumps.plain(b"")),
    b"\xf3\x01abcd\2\5\0" + entry(b"", dumps.plain(b"no name")),
    database(15) + b"\xfb\x01\x00",
    entry(b"set", b"\2" + dumps.length(2) + string(b"a") + string(b"b")),
)


@pytest.mark.parametrize("step", STEPS)
def test_every_part_is_read_in_whatever_pieces(step: int | None) -> None:
    members = SET.loads[2].value(b"\2\1a\1b", 100)
    assert read(rdb_file(*EVERYTHING), step) == [
        RDBAux(b"redis-ver", b"7.0.15"),
        RDBAux(b"ctime", b"1700000000"),
        RDBLibrary(b"#!lua name=f\n"),
        RDBSizes(0, 5, 2),
        RDBEntry(0, b"plain", b"text", None, None, None),
        RDBEntry(0, b"later", b"-5", LATER_MS, None, None),
        RDBEntry(0, b"idle", b"ab" * 500, 1_900_000_000_000, 256, None),
        RDBEntry(0, b"often", b"", None, None, 255),
        RDBEntry(0, b"", b"no name", None, None, None),
        RDBSizes(15, 1, 0),
        RDBEntry(15, b"set", members, None, None, None),
    ]


def test_every_part_is_read_where_the_bytes_come_in_two_pieces() -> None:
    data = rdb_file(*EVERYTHING)
    wanted = read(data)
    for border in range(1, len(data)):
        reader = RDBReader()
        assert [item for piece in (data[:border], data[border:]) for item in reader.feed(piece)] == wanted
        reader.end()


@pytest.mark.parametrize("length", [1, 20_000])
def test_what_redis_has_for_no_expiry_is_none(length: int) -> None:
    for time_ms, wanted in ((-1, None), (-2, -2), (0, 0), (2**63 - 1, 2**63 - 1)):
        head = b"\xfc" + time_ms.to_bytes(8, "little", signed=True)
        (item,) = read(rdb_file(head + entry(b"k", dumps.plain(b"x" * length)), checksum=0))
        assert isinstance(item, RDBEntry)
        assert item.expires_at_ms == wanted


@pytest.mark.parametrize("version", range(1, NEWEST_VERSION_READ + 1))
def test_all_versions_are_read(version: int) -> None:
    reader = RDBReader()
    data = rdb_file(entry(b"k", dumps.plain(b"v")), version=version)
    assert list(reader.feed(data + b"behind")) == [RDBEntry(0, b"k", b"v", None, None, None)]
    assert (reader.version, reader.is_done, reader.offset, reader.rest) == (version, True, len(data), b"behind")


@pytest.mark.parametrize("step", STEPS)
def test_what_stands_behind_the_end_is_left(step: int | None) -> None:
    reader = RDBReader()
    data = rdb_file(entry(b"k", dumps.plain(b"v"))) + b"*1\r\n$4\r\nPING\r\n"
    for start in range(0, len(data), step or len(data)):
        assert reader.is_done or not reader.rest
        list(reader.feed(data[start : start + (step or len(data))]))
    reader.end()
    assert reader.rest == b"*1\r\n$4\r\nPING\r\n"


def test_no_checksum_is_right() -> None:
    assert len(read(rdb_file(*EVERYTHING, checksum=0))) == 11


def test_items_are_given_when_asked_for_and_by_the_next_call_else() -> None:
    reader = RDBReader()
    data = rdb_file(entry(b"a", dumps.plain(b"1")), entry(b"b", dumps.plain(b"2")))
    first = next(reader.feed(data[:-1]))
    assert isinstance(first, RDBEntry)
    assert first.key == b"a"
    assert [item.key for item in reader.feed(b"") if isinstance(item, RDBEntry)] == [b"b"]
    with pytest.raises(RDBInvalid):
        reader.end()
    assert not list(reader.feed(data[-1:]))
    reader.end()


def test_keys_without_members_are_skipped_and_counted() -> None:
    empty = [bytes((kind,)) + b"\0" for kind in (1, 2, 3, 4, 5, 14, 18)]
    empty += [b"\x10" + string(b"\7\0\0\0\0\0\xff"), b"\x0a" + string(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff")]
    reader = RDBReader()
    parts = (b"\xfc" + bytes(8) + entry(b"%d" % number, body) for number, body in enumerate(empty))
    found = list(reader.feed(rdb_file(*parts, entry(b"k", dumps.plain(b"v")))))
    assert found == [RDBEntry(0, b"k", b"v", None, None, None)]
    assert reader.empty_keys == len(empty)


def test_documents_of_redisjson_are_documents() -> None:
    texts = {b"o": b'{ "b": [1.50, null], "a": "x" }', b"s": b'"text"', b"n": b"12"}
    parts = (entry(key, write_module_string("ReJSON-RL", 3, text)) for key, text in texts.items())
    values = {key: item.value for (_, key), item in entries(rdb_file(*parts)).items()}
    assert values == {b"o": b'{"a":"x","b":[1.5,null]}', b"s": b"text", b"n": b"12"}
    assert [type(value) for value in values.values()] == [JSONText, bytes, JSONText]


def refusal(data: bytes, step: int | None = None) -> str:
    with pytest.raises(RDBInvalid) as caught:
        read(data, step)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("step", [1, None])
def test_no_key_is_passed_over_whose_string_is_compressed_wrongly(step: int | None) -> None:
    damaged = entry(b"k", b"\0\xc3\3\5\xe0\xff\x08")
    assert "the key b'k', type 0: no value of this type" in refusal(
        rdb_file(damaged, entry(b"l", dumps.plain(b"v")), checksum=0), step
    )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the RDB file ends too early, at byte 0"),
        (b"REDI", "the RDB file ends too early, at byte 4"),
        (b"REDIS00", "the RDB file ends too early, at byte 7"),
        (b"PK\3\4 zip", "this is no RDB file: it begins with b'PK\\x03\\x04 ', at byte 0"),
        (b"VALKEY080\xff", "this is no RDB file: it begins with b'VALKE', at byte 0"),
        (b"REDIS1e01\xff", "b'1e01' is no version of an RDB file, at byte 5"),
        (b"REDIS0000\xff", "b'0000' is no version of an RDB file, at byte 5"),
        (b"REDIS0015\xff", "the RDB file has version 15, and this program reads up to 14, at byte 5"),
        (rdb_file(checksum=1), "the checksum is wrong, at byte 10"),
        (rdb_file(b"\xf6"), "a function library of a release candidate of Redis 7.0, which no later Redis reads, at byte 9"),
        (rdb_file(b"\xc8"), "200 is no type and no opcode that this program reads, at byte 9"),
        (rdb_file(b"\x06"), "6 is no type and no opcode that this program reads, at byte 9"),
        (rdb_file(b"\xfe\xc0"), "what stands there makes no sense, at byte 10"),
        (
            rdb_file(entry(b"doc", write_module_string("graphdata", 1, b""))),
            "the key b'doc', type 7: the payload holds a value of the module type graphdata, which this server does not have,"
            " at byte 18",
        ),
        (
            rdb_file(entry(b"k" * 100, b"\x0b" + string(b"abc"))),
            f"the key {b'k' * 64!r}…, type 11: no value of this type, at byte 115",
        ),
    ],
)
def test_what_is_no_file_is_refused_in_one_line(data: bytes, reason: str, step: int | None) -> None:
    assert refusal(data, step) == reason


def test_place_of_what_is_wrong_is_told_however_the_bytes_come() -> None:
    data = rdb_file(entry(b"a", dumps.plain(b"1")), entry(b"k", b"\x0b" + string(b"abc")), checksum=0)
    for border in range(1, data.index(b"abc") + 3):
        reader = RDBReader()
        with pytest.raises(RDBInvalid, match=f"at byte {data.index(b'abc') - 5}$"):
            assert [[*reader.feed(piece)] for piece in (data[:border], data[border:])]


def test_file_that_is_cut_anywhere_is_refused() -> None:
    whole = rdb_file(*EVERYTHING)
    for length in range(len(whole)):
        assert refusal(whole[:length]) == f"the RDB file ends too early, at byte {length}"


def test_every_flipped_bit_is_refused() -> None:
    whole = rdb_file(*EVERYTHING)
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        refusal(bytes(damaged))


def test_what_was_refused_stays_refused() -> None:
    reader = RDBReader()
    for _ in range(2):
        with pytest.raises(RDBInvalid, match="it begins with"):
            list(reader.feed(b"GIF89a"))
        with pytest.raises(RDBInvalid, match="it begins with"):
            reader.end()
    assert not reader.is_done


def test_string_over_the_limit_is_refused_before_it_comes() -> None:
    reader = RDBReader(max_string_bytes=10)
    assert len(list(reader.feed(rdb_file(entry(b"k", dumps.plain(b"x" * 10)))))) == 1
    reader = RDBReader(max_string_bytes=10)
    with pytest.raises(RDBInvalid, match="a string has 11 bytes"):
        list(reader.feed(b"REDIS0010" + entry(b"k", dumps.plain(b"x" * 11))[:-11]))


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 10, 14, 15, 18, 22, 24])
@pytest.mark.parametrize(("size", "number"), [(5, 2**29), (9, 2**63 - 1)])
def test_what_is_only_declared_takes_no_memory(kind: int, size: int, number: int) -> None:
    head = b"12345678" if kind == 24 else b""
    data = b"REDIS0010" + bytes((kind,)) + string(b"k") + head + dumps.length(number, size)
    reader = RDBReader()
    tracemalloc.start()
    try:
        with suppress(RDBInvalid):
            list(reader.feed(data))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100_000


def test_long_value_in_small_pieces_takes_the_time_of_its_bytes() -> None:
    members = b"".join(string(b"%06d" % number) for number in range(20_000))
    body = b"\2" + dumps.length(20_000, 5) + members
    data = rdb_file(entry(b"set", body), checksum=0)
    reader = RDBReader(in_steps=True)
    found = [item for start in range(0, len(data), 16) for item in reader.feed(data[start : start + 16])]
    assert found[:-1] == [RDBStep()] * (len(found) - 1)
    assert isinstance(found[-1], RDBEntry)
    assert dump(found[-1].value)[0] == 2


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("size", [1_000, 65_536, 1 << 30])
def test_long_string_is_gathered_while_it_comes(size: int, *, is_compressed: bool) -> None:
    value = bytes(range(256)) * 4_000
    before = b"\xfc" + (5).to_bytes(8, "little")
    body = dumps.compressed(value) if is_compressed else b"\0" + string(value)
    whole = rdb_file(before + entry(b"long", body) + entry(b"behind", b"\0" + string(b"v")))
    reader = RDBReader()
    tracemalloc.start()
    try:
        found = [item for start in range(0, len(whole), size) for item in reader.feed(whole[start : start + size])]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [item for item in found if isinstance(item, RDBEntry)] == [
        RDBEntry(0, b"long", value, 5, None, None),
        RDBEntry(0, b"behind", b"v", None, None, None),
    ]
    assert reader.is_done
    assert reader.offset == len(whole)
    if size < len(value):
        assert peak_bytes < 1.6 * len(value) + len(body) * is_compressed, "it is held once"
    for cut in (100, len(whole) // 2, len(whole) - 40):
        assert "the RDB file ends too early" in refusal(whole[:cut], size)
    flipped = bytearray(whole)
    flipped[whole.index(b"\x11\x12\x13", 50)] ^= 1
    assert "the checksum is wrong" in refusal(bytes(flipped), size)
    if is_compressed:
        place = whole.index(b"\xe0", 400)
        flipped = bytearray(whole)
        flipped[place + 1] ^= 0x80
        assert "the key b'long', type 0: no value of this type, at byte" in refusal(bytes(flipped), size)


def test_long_value_is_made_in_steps_of_the_bytes_that_came() -> None:
    """No copy is made of these, and what stands behind it is read as ever."""
    names = [b"%06d" % number for number in range(20_000)]
    body = b"\2" + dumps.length(len(names), 5) + b"".join(map(string, names))
    whole = rdb_file(entry(b"before", b"\0" + string(b"v")) + entry(b"set", body) + entry(b"behind", b"\0" + string(b"v")))
    for size in (4_096, 50_000, len(whole)):
        reader = RDBReader(in_steps=True)
        found = [item for start in range(0, len(whole), size) for item in reader.feed(whole[start : start + size])]
        keys = [item.key for item in found if isinstance(item, RDBEntry)]
        assert keys == [b"before", b"set", b"behind"]
        assert found.count(RDBStep()) >= len(names) // 128
        assert RDBStep() not in [*RDBReader().feed(whole)]
        assert reader.offset == len(whole)
        assert reader.is_done
    twice = rdb_file(entry(b"set", body[: -len(names[0])] + names[0]))
    with pytest.raises(RDBInvalid, match=f"the key b'set', type 2: no value of this type, at byte {twice.index(body[1:99])}$"):
        list(RDBReader(in_steps=True).feed(twice))
