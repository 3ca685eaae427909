"""The kind of streams. Pure."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Final

from kvserver.data.entries import Value
from kvserver.data.kinds import Form, Load
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats.digest import STREAM_TYPE, mix
from kvserver.formats.names import as_text
from kvserver.state.session import Session
from kvserver.types.collection import Collection
from kvserver.types.stream.frames import LongStream, stream_of_json, stream_pieces
from kvserver.types.stream.payload import STREAM_TYPES, make_stream, read_stream, stream_in_pieces, write_stream
from kvserver.types.stream.stream import Stream

TAG: Final = "stream"


def stream_of(value: Value | None) -> Stream | None:
    """The value as it is, which is a stream or None. CommandError for a value of another kind."""
    if value is None or type(value) is Stream:
        return value
    raise CommandError(WRONG_TYPE)


def changeable(session: Session, key: bytes) -> Stream | None:
    """The stream under a key, to be changed in place and given to `keyspace.change`; None if the key is missing."""
    return stream_of(session.keyspace.own(key))


class StreamKind(Collection):
    """A stream. A payload holds it as an object: `frames`."""

    name = "stream"
    types = (Stream,)
    mark = ""
    forms: Mapping[str, Form] = {TAG: Form(stream_of_json, LongStream)}
    loads: Mapping[int, Load] = {
        dump_type: Load(shape, partial(read_stream, dump_type), partial(make_stream, dump_type))
        for dump_type, shape in STREAM_TYPES.items()
    }

    def encoding(self, value: Stream) -> bytes:
        return b"stream"

    def json(self, value: Stream) -> tuple[str, bytes]:
        return TAG, b"".join(stream_pieces(value))

    def json_steps(self, value: Stream) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        return TAG, stream_pieces(value)

    def python(self, value: Stream) -> list[list[str | list[str | bytes]]]:
        """Each entry as XRANGE has it, since a field may be there more than once: `[id, [field, value, ...]]`."""
        return [
            [f"{ms}-{number}", list(map(as_text, strings))]
            for items in value.entries.chunks()
            for (ms, number), strings in items
        ]

    def dump(self, value: Stream) -> bytes:
        return write_stream(value)

    def rdb(self, value: Stream, *, has_modules: bool) -> Iterator[bytes]:
        return stream_in_pieces(value)

    def digest(self, value: Stream, digest: bytes) -> bytes:
        digest = mix(digest, (STREAM_TYPE,))
        for items in value.entries.chunks():
            for identity, strings in items:
                digest = mix(digest, (b"%d.%d" % identity, *strings))
        return digest


STREAM: Final = StreamKind()
