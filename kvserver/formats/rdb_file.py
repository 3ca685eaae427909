"""The files that SAVE of Redis writes, RDB files: read from bytes as they come, of a file or of a socket. Pure.

    magic     5 bytes   REDIS
    version   4 bytes   decimal digits
    parts               each behind its opcode: fields about the file, function libraries, and for each database its number,
                        how many keys it has, and its keys; before a key may stand when it expires and how it was used
    255       1 byte    the end
    CRC-64    8 bytes   of all before it, little-endian, from version 5 on; 0 where `rdbchecksum` was off

A key is its type, which takes the place of an opcode, the key as a string, and the value (`rdb`, `rdb_collections`).
Versions 1 to 14 are read, those of Redis 1.3 to 8.8. Source: rdbLoadRio in rdb.c of redis 7.0, and for later opcodes of 8.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final, NamedTuple

from kvserver._speedups.crc64 import crc64
from kvserver._speedups.rdb_entries import EXPIRES_MS, EXPIRES_S, FREQUENCY, IDLE, Way, entries_at
from kvserver._speedups.rdb_parts import string_head_at
from kvserver.data.entries import Value
from kvserver.data.kinds import load_of_dump
from kvserver.data.steps import giving
from kvserver.errors import DumpEmpty, DumpInvalid, RDBInvalid
from kvserver.formats.rdb import BAD_FORMAT, NEWEST_VERSION_READ, STRING_TYPE, Reader
from kvserver.formats.rdb_longstring import LongString
from kvserver.formats.rdb_shape import Extent

MAGIC: Final = b"REDIS"
VERSION_DIGITS: Final = 4
CHECKSUM_BYTES: Final = 8
_FIRST_VERSION_WITH_CHECKSUM: Final = 5

KEY_META, SLOT_INFO, FUNCTION, EARLY_FUNCTION, MODULE_AUX = range(243, 248)
AUX, SIZES, DATABASE, END = 250, 251, 254, 255
# What stands behind each opcode, as `rdb_shape` reads it.
_SHAPES: Final = {
    KEY_META: b"[4m]",
    SLOT_INFO: b"nnn",
    FUNCTION: b"s",
    MODULE_AUX: b"nnnm",
    IDLE: b"n",
    FREQUENCY: b"1",
    AUX: b"ss",
    SIZES: b"nn",
    EXPIRES_MS: b"8",
    EXPIRES_S: b"4",
    DATABASE: b"n",
}
# What belongs to modules and to the slots of a cluster says nothing about keys.
_SKIPPED: Final = (KEY_META, SLOT_INFO, MODULE_AUX)
# The greatest string that Redis takes from clients, if nothing else is configured.
MAX_STRING_BYTES: Final = 512 << 20
# A step computes the checksum of so many bytes.
_HASHED_BYTES: Final = 1 << 16
# So many keys are taken from the bytes at once, ...
_KEYS_AT_ONCE: Final = 64
# ... if none of them is longer than this.
_SHORT_BYTES: Final = 1 << 13
_TYPES: Final = 256
# A longer body is made a value in steps.
_LONG_BYTES: Final = 1 << 14


class RDBAux(NamedTuple):
    """A field about the file, as `redis-ver`."""

    name: bytes
    value: bytes


class RDBLibrary(NamedTuple):
    """The text of a function library."""

    text: bytes


class RDBSizes(NamedTuple):
    """How many keys the following database has, and how many of them expire, as far as the file can be believed."""

    database: int
    keys: int
    expiring_keys: int


class RDBEntry(NamedTuple):
    """A key of a database, and its value. A hostile file may have a key twice, and any number for a database.

    - `expires_at_ms` is the Unix time in milliseconds from which on it is gone, or None. That may have passed.
    - `idle_s` is how long it has not been used, in seconds, `frequency` how often it was (0 to 255), or None.
    """

    database: int
    key: bytes
    value: Value
    expires_at_ms: int | None
    idle_s: int | None
    frequency: int | None


class RDBStep(NamedTuple):
    """A step of a long value, which is not whole yet."""


_STEP: Final = RDBStep()
RDBItem = RDBAux | RDBLibrary | RDBSizes | RDBEntry | RDBStep


class RDBReader:
    """Reads an RDB file from bytes that come in any pieces.

    - `version` is that of the file, 0 before it is known.
    - `is_done`: the end and the checksum were read, and are right. Before that, nothing that was read can be believed.
    - `empty_keys` counts the keys that were skipped, as Redis does, since their collections have no members.

    With `in_steps`, a step of the iterators takes some hundred microseconds at most, if some thousand bytes are fed at once: a
    long collection is made in steps, which takes twice the time in all. What Redis keeps in one block is one step. No memory
    is taken for what is only declared. A collection is held once more in the form of the file, until it is whole.
    """

    def __init__(self, max_string_bytes: int = MAX_STRING_BYTES, *, in_steps: bool = False) -> None:
        """Begin. No string in the file, compressed or not, may have more than `max_string_bytes` bytes."""
        self._in_steps = in_steps
        self.version = 0
        self.is_done = False
        self.empty_keys = 0
        self._max_string_bytes = max_string_bytes
        self._buffer = bytearray()
        # Of the buffer: up to where it was read, and up to where the checksum is computed.
        self._position = self._hashed = 0
        # The bytes of the file that are not in the buffer any more.
        self._dropped_bytes = 0
        self._crc = 0
        # The parts behind the opcode of the end are not in the checksum.
        self._has_end = False
        self._database = 0
        self._expires_at_ms: int | None = None
        self._idle_s: int | None = None
        self._frequency: int | None = None
        self._error: RDBInvalid | None = None
        # How `entries_at` reads the values of each type.
        self._ways = tuple(map(_way, range(_TYPES)))
        self._parts = self._read()

    def feed(self, data: bytes) -> Iterator[RDBItem]:
        """Take the next bytes, and give what they complete, one after another. RDBInvalid as soon as something is wrong.

        What was not asked for is given by the iterator of the next call, or of one without data.
        """
        self._buffer += data
        return self._items()

    @property
    def offset(self) -> int:
        """The number of bytes from the beginning of the file that were read."""
        return self._dropped_bytes + self._position

    @property
    def rest(self) -> bytes:
        """The bytes behind the file, as far as they came. They are nobody's before `is_done`."""
        return bytes(self._buffer[self._position :]) if self.is_done else b""

    def end(self) -> None:
        """RDBInvalid if no more bytes come, and the file is not whole."""
        if self._error is not None:
            raise self._error
        if not self.is_done:
            raise self._invalid("the RDB file ends too early", self._dropped_bytes + len(self._buffer))

    def _items(self) -> Iterator[RDBItem]:
        if self._error is not None:
            raise self._error
        try:
            for item in self._parts:
                if item is None:
                    self._drop()
                    return
                yield item
        except DumpInvalid as error:
            reason = "what stands there makes no sense" if str(error) == BAD_FORMAT else str(error)
            self._error = self._invalid(reason, self.offset)
        except RDBInvalid as error:
            self._error = error
        if self._error is not None:
            raise self._error

    def _invalid(self, reason: str, offset: int) -> RDBInvalid:
        return RDBInvalid(f"{reason}, at byte {offset}")

    # The parts of the file. A step that yields None waits for more bytes.

    def _read(self) -> Generator[RDBItem | None]:
        yield from self._head()
        while True:
            yield from self._many()
            (opcode,) = yield from self._take(b"1")
            if opcode == END:
                break
            if opcode in _SHAPES:
                item = self._part(opcode, Reader((yield from self._take(_SHAPES[opcode]))))
            else:
                item = yield from self._entry(opcode)
            if item is not None:
                yield item
            if self._position - self._hashed >= _HASHED_BYTES:
                self._hash(self._position)
        self._hash(self._position)
        self._has_end = True
        if self.version >= _FIRST_VERSION_WITH_CHECKSUM:
            checksum = int.from_bytes((yield from self._take(b"8")), "little")
            # 0 stands for none.
            if checksum not in (0, self._crc):
                raise self._invalid("the checksum is wrong", self.offset - CHECKSUM_BYTES)
        self.is_done = True

    def _head(self) -> Generator[None]:
        magic = yield from self._take(b"5")
        if magic != MAGIC:
            raise self._invalid(f"this is no RDB file: it begins with {magic!r}", 0)
        digits = yield from self._take(b"4")
        if not digits.isdigit() or not int(digits):
            raise self._invalid(f"{digits!r} is no version of an RDB file", len(MAGIC))
        self.version = int(digits)
        if self.version > NEWEST_VERSION_READ:
            reason = f"the RDB file has version {self.version}, and this program reads up to {NEWEST_VERSION_READ}"
            raise self._invalid(reason, len(MAGIC))

    def _part(self, opcode: int, reader: Reader) -> RDBItem | None:
        """What an opcode and that behind it say, or None if they say nothing, or only of what comes."""
        limit = self._max_string_bytes
        if opcode in _SKIPPED:
            return None
        if opcode == AUX:
            return RDBAux(reader.string(limit), reader.string(limit))
        if opcode == FUNCTION:
            return RDBLibrary(reader.string(limit))
        if opcode == SIZES:
            return RDBSizes(self._database, reader.length(), reader.length())
        if opcode == DATABASE:
            self._database = reader.length()
        elif opcode == IDLE:
            self._idle_s = reader.length()
        elif opcode == FREQUENCY:
            (self._frequency,) = reader.take(1)
        else:
            number = int.from_bytes(reader.take(8 if opcode == EXPIRES_MS else 4), "little", signed=True)
            self._expires_at_ms = number if opcode == EXPIRES_MS else 1000 * number
        return None

    def _many(self) -> Iterator[RDBEntry]:
        """Keys with short values, as many as stand here."""
        most_bytes = min(_SHORT_BYTES, self._max_string_bytes)
        # What stands before a key has been read where it is set.
        while self._expires_at_ms is self._idle_s is self._frequency is None:
            entries, bodies, position = entries_at(
                self._buffer, self._position, self._ways, _KEYS_AT_ONCE, most_bytes, RDBEntry, self._database
            )
            # The offset of what is wrong is known by the key.
            dropped_bytes, self._position = self._dropped_bytes, position
            given = 0
            for place, dump_type, start in bodies:
                yield from entries[given:place]
                made = self._made(dump_type, entries[place], dropped_bytes + start)
                if made is not None:
                    yield made
                given = place + 1
            yield from entries[given:]
            if position - self._hashed >= _HASHED_BYTES:
                self._hash(position)
            if not entries:
                break

    def _entry(self, dump_type: int) -> Generator[RDBStep | None, None, RDBEntry | None]:
        """A key and its value, whose type was read. None if Redis skips such a key."""
        offset = self.offset - 1
        load = load_of_dump(dump_type)
        if dump_type == EARLY_FUNCTION:
            raise self._invalid("a function library of a release candidate of Redis 7.0, which no later Redis reads", offset)
        if load is None:
            raise self._invalid(f"{dump_type} is no type and no opcode that this program reads", offset)
        key = Reader((yield from self._take(b"s"))).string(self._max_string_bytes)
        start = self.offset
        try:
            string = (yield from self._long_string()) if dump_type == STRING_TYPE else None
        except DumpInvalid as error:
            raise self._refusal(error, dump_type, key, start) from None
        if string is not None:
            return RDBEntry(self._database, key, string, *self._taken_before())
        extent = yield from self._extent(load.shape)
        before = self._taken_before()
        if not self._in_steps or load.steps is None or extent.size <= _LONG_BYTES:
            return self._made(dump_type, RDBEntry(self._database, key, self._taken(extent), *before), start)
        try:
            value = yield from giving(_STEP, load.steps(self._cut_out(extent), self._max_string_bytes))
        except DumpEmpty:
            self.empty_keys += 1
            return None
        except DumpInvalid as error:
            raise self._refusal(error, dump_type, key, start) from None
        return RDBEntry(self._database, key, value, *before)

    def _taken_before(self) -> tuple[int | None, int | None, int | None]:
        """What stood before a key: when it expires, for how long it was not used, and how often it was."""
        # Redis has -1 for none.
        expires_at_ms = None if self._expires_at_ms == -1 else self._expires_at_ms
        before = expires_at_ms, self._idle_s, self._frequency
        self._expires_at_ms = self._idle_s = self._frequency = None
        return before

    def _made(self, dump_type: int, held: RDBEntry, offset: int) -> RDBEntry | None:
        """A key that holds a body, which begins at this offset, with its value. None if Redis skips such a key."""
        load = load_of_dump(dump_type)
        assert load is not None, "the type was read"
        database, key, body, expires_at_ms, idle_s, frequency = held
        assert isinstance(body, bytes)
        try:
            value = load.value(body, self._max_string_bytes)
        except DumpEmpty:
            self.empty_keys += 1
            return None
        except DumpInvalid as error:
            raise self._refusal(error, dump_type, key, offset) from None
        return RDBEntry(database, key, value, expires_at_ms, idle_s, frequency)

    def _refusal(self, error: DumpInvalid, dump_type: int, key: bytes, offset: int) -> RDBInvalid:
        """The error of a key whose body, which begins at this offset, is no value."""
        reason = "no value of this type" if str(error) == BAD_FORMAT else str(error)
        return self._invalid(f"the key {_shown(key)}, type {dump_type}: {reason}", offset)

    # Bytes

    def _take(self, shape: bytes) -> Generator[None, None, bytes]:
        """The bytes of the next part, which has this shape."""
        return self._taken((yield from self._extent(shape)))

    def _extent(self, shape: bytes) -> Generator[None, None, Extent]:
        """The extent of the next part, which has this shape, when it is whole."""
        extent = Extent(shape, self._max_string_bytes)
        while not extent.is_whole(self._buffer, self._position):
            yield None
        return extent

    def _long_string(self) -> Generator[RDBStep | None, None, bytes | None]:
        """The next string, gathered while it comes, or None if it is not long."""
        try:
            while (head := string_head_at(self._buffer, self._position)) is None:
                yield None
        except ValueError:
            # What is wrong with it is told by who reads it.
            return None
        string = LongString.begin(self._buffer[self._position], *head[1:], self._max_string_bytes)
        if string is None:
            return None
        self._position = head[0]
        while True:
            with memoryview(self._buffer) as view, view[self._position : self._position + string.left] as part:
                string.take(part)
                self._position += len(part)
            if not string.left:
                return (yield from giving(_STEP, string.value()))
            yield None

    def _taken(self, extent: Extent) -> bytes:
        start, self._position = self._position, self._position + extent.size
        with memoryview(self._buffer) as view:
            return bytes(view[start : self._position])

    def _cut_out(self, extent: Extent) -> bytearray:
        """The bytes of a long part: the buffer itself, since a copy would take too long."""
        start, end = self._position, self._position + extent.size
        self._hash(end)
        body, self._buffer = self._buffer, self._buffer[end:]
        del body[end:], body[:start]
        self._dropped_bytes += end
        self._position = self._hashed = 0
        return body

    def _drop(self) -> None:
        """Let go of the bytes that were read. All that is there belongs to the part that is waited for."""
        if not self._has_end:
            self._hash(len(self._buffer))
        del self._buffer[: self._position]
        self._hashed -= self._position
        self._dropped_bytes += self._position
        self._position = 0

    def _hash(self, end: int) -> None:
        """Compute the checksum up to a position."""
        if end > self._hashed:
            self._crc = crc64(bytes(self._buffer[self._hashed : end]), self._crc)
            self._hashed = end


def _way(dump_type: int) -> Way:
    """How `entries_at` reads values of a type."""
    load = load_of_dump(dump_type)
    return None if load is None else (load.shape, load.packing)


def _shown(key: bytes) -> str:
    """A key in a line of text: as Python writes it, and not to its end if it is long."""
    return repr(key) if len(key) <= _SHOWN_BYTES else f"{key[:_SHOWN_BYTES]!r}…"


_SHOWN_BYTES: Final = 64
