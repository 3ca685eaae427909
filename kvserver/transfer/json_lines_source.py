"""Lines of JSON as a source (`formats.json_lines`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvserver.errors import SourceInvalid
from kvserver.formats.json_lines import MOST_LINE_BYTES, Library, read_line
from kvserver.transfer.incoming import Incoming
from kvserver.transfer.staging import Staging, shown
from kvserver.types import TAGGED


def load(incoming: Incoming, staging: Staging) -> None:
    """Bring in lines. SourceInvalid, which names the line, if one is none that can be read."""
    for number, line in enumerate(_lines(incoming.chunks()), 1):
        # People put empty lines between others, or at the end.
        if not line.strip():
            continue
        try:
            _take(line, staging)
        except SourceInvalid as invalid:
            raise SourceInvalid(f"line {number}: {invalid}") from None


def _take(line: bytes, staging: Staging) -> None:
    if len(line) > MOST_LINE_BYTES:
        raise SourceInvalid(f"it is longer than {MOST_LINE_BYTES} bytes")
    found = read_line(line, TAGGED)
    if isinstance(found, Library):
        name = staging.put_library(found.text)
        if name != found.name:
            raise SourceInvalid(f"the library is called {shown(found.name)}, and {shown(name)} in its code")
    else:
        staging.put(*found)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines, of one that is too long only the beginning."""
    pieces: list[bytes] = []
    length = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        pieces.append(first)
        length += len(first)
        if others:
            yield b"".join(pieces)
            yield from others[:-1]
            pieces, length = [others[-1]], len(others[-1])
        elif length > MOST_LINE_BYTES:
            break
    yield b"".join(pieces)
