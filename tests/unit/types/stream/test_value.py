"""The kind of streams answers what every kind is asked."""

from __future__ import annotations

import pytest

from kvserver.data.footprint import entry_bytes
from kvserver.data.kinds import kind_of
from kvserver.errors import CommandError
from kvserver.formats.rdb import dump, load
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import STREAM, stream_of


def test_stream_is_of_its_kind() -> None:
    stream = Stream()
    stream.entries.add((1, 0), [b"f", b"v"], 100, 4096)
    stream.last_id = (1, 0)
    assert kind_of(stream) is STREAM
    assert (STREAM.name, STREAM.encoding(stream)) == ("stream", b"stream")
    assert STREAM.json(stream) == (
        "stream",
        b'{"added":0,"entries":[["1-0","f","v"]],"groups":{},"last_id":"1-0","max_deleted_id":"0-0"}',
    )
    assert STREAM.elements(stream) is None
    assert entry_bytes(b"k", stream) > 500
    (request,) = STREAM.recreation(b"k", stream, 5)
    assert request == [b"RESTORE", b"k", b"5", dump(stream), b"REPLACE", b"ABSTTL"]
    loaded = load(request[3], 100)
    assert isinstance(loaded, Stream)
    assert STREAM.json(loaded) == STREAM.json(stream)
    stream.entries.add((1, 1), [b"f", b"\xff", b"f", b""], 100, 4096)
    assert STREAM.python(stream) == [["1-0", ["f", "v"]], ["1-1", ["f", b"\xff", "f", ""]]]
    assert STREAM.python(Stream()) == []


def test_other_kinds_are_refused() -> None:
    stream = Stream()
    assert stream_of(stream) is stream
    assert stream_of(None) is None
    for value in (b"v", "l\0a\0"):
        with pytest.raises(CommandError, match=r"^WRONGTYPE "):
            stream_of(value)
