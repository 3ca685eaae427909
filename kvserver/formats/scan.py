"""The left-to-right scan of a medium: which frames are valid, what lies behind them, what the last holds.

A strict scan ends at the first invalid byte. That of a server may step over damaged frames, by their own length, header to
header, if something vouches for the frame that it finds there: a link of the journal that names the frame's digest, or the
fact that every frame from there on is valid, to the very last byte. (A frame inside a client's value has neither: the payload
around it ends behind it, and its digest is not one that was linked to.) The scan never searches for a magic.

Pure: a generator that asks for bytes (`Read`) and pauses (`None`), so that one scan serves the blocking library and the
server, which reads and hashes on the disk's thread and serves clients at each pause.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Collection, Generator
from contextlib import suppress
from typing import NamedTuple, Protocol

from kvserver.data.shards import Shard, load_shards, new_shards
from kvserver.errors import MediumError, PayloadInvalid
from kvserver.formats.decoder import Decoder, Members
from kvserver.formats.frame import HEADER_SIZE, MAGIC, UNWRITTEN, Header, decode_header, is_header_start
from kvserver.formats.tags import Mapping

CHUNK_BYTES = 1 << 18


class Data(NamedTuple):
    """The contents of a frame: the shards of each database that has keys, by its number; function libraries by their names."""

    shards: dict[int, list[Shard]]
    libraries: dict[bytes, bytes]

    @classmethod
    def empty(cls) -> Data:
        return cls({}, {})


class Hasher(Protocol):
    """The part of hashlib's objects that is needed here."""

    def update(self, data: bytes, /) -> None: ...


class Read(NamedTuple):
    """A request for `length` bytes at `offset` (fewer at the medium's end), which go through `hasher` on the way.

    The next request with this hasher will be for the `ahead` bytes behind these: whoever can may begin to read them at once.
    """

    offset: int
    length: int
    hasher: Hasher | None = None
    ahead: int = 0


Steps = Generator[Read | None, bytes, "Scan"]


class Frame(NamedTuple):
    """A valid frame: its offset and its payload's length (bytes), the payload's SHA-256, its number of members.

    That number is 0 where somebody else vouches for the frame, and nobody has read it.
    """

    offset: int
    payload_length: int
    digest: str
    member_count: int

    @property
    def end(self) -> int:
        return self.offset + HEADER_SIZE + self.payload_length


class Damage(NamedTuple):
    """Bytes between two valid frames that are none: the offsets of their start and end, and what is wrong with them."""

    offset: int
    end: int
    reason: str


class Tail(enum.Enum):
    """The kind of bytes that lie behind the last valid frame."""

    NONE = "nothing"
    # A crash leaves this. It can be cut off.
    TORN = "an unfinished frame"
    # Anything else has to be set aside before it is cut off.
    DAMAGED = "damage"


class Scan:
    """The findings of a scan.

    `data` is what the frame `loaded` holds, if a load was asked for and there is a frame.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.frames: list[Frame] = []
        # The damage that was stepped over, each before one of the frames.
        self.damages: list[Damage] = []
        self.tail = Tail.NONE
        self.reason = ""
        self.data: Data | None = None
        self.loaded: Frame | None = None

    @property
    def valid_length(self) -> int:
        return self.frames[-1].end if self.frames else 0

    @property
    def tail_length(self) -> int:
        return self.size - self.valid_length


class _Invalid(Exception):
    """No valid frame begins here. `end`: the offset of its end, if its header and its payload are there as a whole."""

    def __init__(self, tail: Tail, reason: str, end: int | None = None) -> None:
        super().__init__(reason)
        self.tail = tail
        self.end = end


def scan(size: int, mapping: Mapping, load: bool = True, digest: str = "", links: Collection[str] | None = None) -> Steps:
    """Scan a medium of `size` bytes; with `load`, also give the data of the last valid frame.

    With a `digest`, load instead the last frame whose payload has this SHA-256, if there is one. The scan is strict, unless
    `links` are given: the digests that vouch for a frame behind a damaged one. MediumError if the last frame changes
    while it is read.
    """
    result = Scan(size)
    steps_over = links is not None
    # The damage that was stepped over while nothing has vouched for what is behind it, and the valid frames there.
    damage: Damage | None = None
    doubtful: list[Frame] = []
    position = 0
    while position < size:
        try:
            header = yield from _read_header(position, size, mapping)
            ends_here = position + HEADER_SIZE + header.payload_length == size
            # Only one frame's members are wanted, and a frame that ends the medium is the last if it is valid.
            is_wanted = header.digest == digest if digest else ends_here
            data = Data.empty() if load and is_wanted else None
            frame = yield from _read_payload(position, header, mapping, data)
        except _Invalid as invalid:
            if result.tail is Tail.NONE:
                result.tail, result.reason = invalid.tail, str(invalid)
            if not steps_over or invalid.end is None:
                break
            # The frames between two damaged ones, for which nothing has vouched, go with them.
            damage = (
                Damage(damage.offset, invalid.end, damage.reason) if damage else Damage(position, invalid.end, str(invalid))
            )
            doubtful = []
            position = invalid.end
            continue
        position = frame.end
        doubtful.append(frame)
        if not damage or frame.end == size or frame.digest in (links or ()):
            if damage:
                result.damages.append(damage)
                damage = None
                result.tail, result.reason = Tail.NONE, ""
            result.frames += doubtful
            doubtful = []
            if data is not None:
                result.data, result.loaded = data, frame
    if load and result.frames and result.data is None:
        yield from _load_last(result, mapping)
    return result


def load_frame(frames: list[Frame], digest: str, size: int, mapping: Mapping) -> Steps:
    """Load the last of these frames that has this digest, in a medium of `size` bytes; the others are not read.

    `loaded` is None if there is none, or with a `reason` if it is not valid.
    """
    result = Scan(size)
    result.frames = frames
    for frame in reversed(frames):
        if frame.digest == digest:
            data = Data.empty()
            try:
                header = yield from _read_header(frame.offset, size, mapping)
                result.loaded = yield from _read_payload(frame.offset, header, mapping, data)
                result.data = data
            except _Invalid as invalid:
                result.tail, result.reason = invalid.tail, str(invalid)
            break
    return result


def _load_last(result: Scan, mapping: Mapping) -> Generator[Read | None, bytes, None]:
    last = result.frames[-1]
    data = Data.empty()
    try:
        header = yield from _read_header(last.offset, result.size, mapping)
        yield from _read_payload(last.offset, header, mapping, data)
    except _Invalid as invalid:
        raise MediumError(f"the frame at offset {last.offset} changed while it was read: {invalid}") from None
    result.data, result.loaded = data, last


def _read_header(offset: int, size: int, mapping: Mapping) -> Generator[Read | None, bytes, Header]:
    data = yield Read(offset, HEADER_SIZE)
    if len(data) < HEADER_SIZE:
        if is_header_start(data):
            raise _Invalid(Tail.TORN, "the medium ends inside a frame's header")
        raise _Invalid(Tail.DAMAGED, "these bytes begin no frame")
    if data == UNWRITTEN:
        decoder = yield from _read_torn(offset + HEADER_SIZE, size, mapping)
        if decoder.has_ended and decoder.has_more:
            raise _Invalid(Tail.DAMAGED, "a header is zeros, but its payload is whole and something is behind it")
        raise _Invalid(Tail.TORN, "the frame was never finished: its header is still zeros")
    header = decode_header(data)
    if header is None:
        reason = "its length or checksum field is malformed" if data.startswith(MAGIC) else "these bytes begin no frame"
        raise _Invalid(Tail.DAMAGED, reason)
    if offset + HEADER_SIZE + header.payload_length > size:
        decoder = yield from _read_torn(offset + HEADER_SIZE, size, mapping)
        if decoder.has_ended:
            raise _Invalid(Tail.DAMAGED, "the payload ends before its length field says")
        present = size - offset - HEADER_SIZE
        raise _Invalid(Tail.TORN, f"the frame ends after {present} of {header.payload_length} payload bytes")
    return header


def _read_torn(start: int, size: int, mapping: Mapping) -> Generator[Read | None, bytes, Decoder]:
    """Read what is there of a payload. That of a torn frame ends early; if it is whole, something else is wrong."""
    decoder = Decoder(mapping)
    with suppress(PayloadInvalid):
        for position in range(start, size, CHUNK_BYTES):
            chunk = yield Read(position, min(CHUNK_BYTES, size - position))
            for _ in decoder.feed(chunk):
                yield None
        for _ in decoder.finish():
            yield None
    return decoder


def _read_payload(offset: int, header: Header, mapping: Mapping, data: Data | None) -> Generator[Read | None, bytes, Frame]:
    hasher = hashlib.sha256()
    decoder = Decoder(mapping)
    invalid: PayloadInvalid | None = None
    position = offset + HEADER_SIZE
    end = position + header.payload_length
    while position < end:
        length = min(CHUNK_BYTES, end - position)
        chunk = yield Read(position, length, hasher, min(CHUNK_BYTES, end - position - length))
        if not chunk:
            raise _Invalid(Tail.DAMAGED, "the medium became shorter while it was read")
        position += len(chunk)
        # Only the checksum is still of interest then: it tells which of two reasons is given.
        if invalid:
            continue
        try:
            for members in decoder.feed(chunk):
                _load(data, members)
                yield None
        except PayloadInvalid as error:
            invalid = error
    if hasher.hexdigest() != header.digest:
        raise _Invalid(Tail.DAMAGED, "the checksum does not match the payload", end)
    try:
        if invalid:
            raise invalid
        for members in decoder.finish():
            _load(data, members)
            yield None
    except PayloadInvalid as error:
        raise _Invalid(Tail.DAMAGED, str(error), end) from None
    if data is not None:
        data.libraries.update(decoder.libraries)
    return Frame(offset, header.payload_length, header.digest, decoder.member_count)


def _load(data: Data | None, members: Members) -> None:
    """Put members into data, if any is wanted."""
    if data is None:
        return
    for number, some in members.items():
        if number not in data.shards:
            data.shards[number] = new_shards()
        load_shards(data.shards[number], some)
