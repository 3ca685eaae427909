"""Long documents of a payload, which come in pieces: canonical JSON becomes a value as it stands, in short steps. Pure.

A piece ends at a comma, or inside a long string. With the brackets around it that are open, and the names that lead there,
it is a small document by itself, which is parsed and written again: if the same bytes come out, the piece is canonical.
Canonical pieces make a canonical whole, since each begins with what its first name, or number of an array, has to follow. If
other bytes come out, the document was written elsewhere; `as_json` gives back what was read of it, and the decoder reads it
as a whole.
"""

from __future__ import annotations

import json
import re
from codecs import utf_8_decode
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import orjson

from kvserver.data.entries import Entry, Expiring
from kvserver.formats.codec import JSON, MAX_DEPTH, PIECE_BYTES, JSONText, canonical, canonical_string
from kvserver.formats.longstring import INTEGER, TAG_END

_START: Final = re.compile(rb"(?=[\[{])")
# The start of a tag with an expiry, of the escape of a document that looks like a tag, or of a document that does not.
_TAGGED_START: Final = re.compile(
    rb'\{"\$kvs":\{"expires_at_ms":%b,"value":(?=[\[{])|\{"\$kvs":\{"value":(?=\{"\$kvs":)|(?=\[)|(?=\{(?!"\$kvs":).{8})'
    % INTEGER,
    re.DOTALL,
)
_BRACKETS: Final = b"[]{}"
# An opening bracket becomes the one that closes it, and a closing bracket zero.
_CLOSERS: Final = bytes.maketrans(_BRACKETS, b"]\0}\0")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(_BRACKETS))
# A sign of floats, some of which orjson spells in another way than Python.
_FLOAT: Final = re.compile(rb"\.|[0-9][eE]")
_LONGEST_ESCAPE_BYTES: Final = len(r"\u0000")
_raw_decode: Callable[[str], tuple[JSON, int]] = json.JSONDecoder().raw_decode


class LongDocument:
    """An object or an array, or a tag around one if `opening` is not empty. `expires_at_ms`: the tag's, if it has one."""

    def __init__(self, opening: bytes, expires_at_ms: int | None) -> None:
        # The last bracket has been read.
        self.has_ended = False
        self._opening = opening
        self._expires_at_ms = expires_at_ms
        self._content = BytesIO()
        # The brackets that close those that are open, for the outermost first.
        self._closers = bytearray()
        # JSON that leads to where the next piece begins.
        self._context = b""
        # The next piece begins inside a string.
        self._is_in_string = False

    def read(self, data: bytes, position: int) -> int | None:
        """Read a piece that begins at the position. Return the position of the next piece, or None if this is not canonical.

        The position stays the same if more data is needed.
        """
        # A piece is shorter than that of a string, since it takes longer.
        piece = data[position : position + PIECE_BYTES // 8]
        try:
            return position + self._read_piece(piece, is_full=len(piece) == PIECE_BYTES // 8)
        except (ValueError, RecursionError):
            # The parsers raise these, too.
            return None

    def _read_piece(self, piece: bytes, is_full: bool) -> int:
        # When the escaped quotes are gone, the others begin and end strings.
        masked = piece.replace(rb"\\", b"..").replace(rb"\"", b"..")
        if rb"\ud" in masked:
            raise ValueError("half of a surrogate pair, whose other half may be behind the piece")
        parts = masked.split(b'"')
        outside = b"".join(parts[self._is_in_string :: 2])
        before, comma, after = outside.rpartition(b",")
        closers = self._closers.copy()
        if _follow(before, closers) or _follow(after, closers if not comma else closers.copy()):
            return self._read_last(piece)
        if comma:
            end = _last_comma(parts, self._is_in_string)
            self._read_up_to(piece[:end], b"", closers, outside)
            self._content.write(b",")
            self._context += b"0,"
            self._is_in_string = False
            return end + len(b",")
        if not is_full:
            return 0
        if (len(parts) + self._is_in_string) % 2:
            # The piece ends behind a long string: end it inside that.
            if b'"' not in masked:
                raise ValueError("a number longer than Python reads, or white space")
            return self._read_piece(piece[: masked.rindex(b'"')], is_full=True)
        _, end = utf_8_decode(piece[: _end_in_string(masked)])
        if not end:
            raise ValueError("an escape or a character longer than a piece")
        self._read_up_to(piece[:end], b'"', closers, outside)
        self._context += b'"'
        self._is_in_string = True
        return end

    def _read_up_to(self, piece: bytes, quote: bytes, closers: bytearray, outside: bytes) -> None:
        """Take a piece that ends within these brackets, and within a string if there is a quote to close that."""
        value = _parse(self._context + piece + quote + closers[::-1], has_floats=_FLOAT.search(outside) is not None)
        context: list[bytes] = []
        for closer in closers:
            if not value:
                raise ValueError("a comma behind an opening bracket")
            if closer == ord("]"):
                context.append(b"[")
                value = value[-1]
            else:
                name, value = next(reversed(value.items()))
                context.append(b"{%b:" % canonical_string(name))
        self._context = b"".join(context)
        if len(self._context) > PIECE_BYTES:
            raise ValueError("names too long to be read again with each piece")
        self._closers = closers
        self._content.write(piece)

    def _read_last(self, piece: bytes) -> int:
        """Take the piece in which the document ends. Return the length of its part that belongs to the document."""
        text, _ = utf_8_decode(self._context + piece)
        value, length = _raw_decode(text)
        whole = text[:length].encode()
        if canonical(value) != whole:
            raise ValueError("not canonical")
        end = len(whole) - len(self._context)
        self._content.write(piece[:end])
        self.has_ended = True
        return end

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        """Return the entry and the position of its end, by what stands behind the last bracket, or None if this is no tag."""
        if self._opening and not data.startswith(TAG_END, position):
            return None
        value = JSONText(self._content.getvalue())
        entry = value if self._expires_at_ms is None else Expiring(value, self._expires_at_ms)
        return entry, position + len(TAG_END if self._opening else b"")

    def as_json(self) -> bytes:
        """The bytes that were read, as they stood there."""
        return self._opening + self._content.getvalue()


def begin_document(data: bytes, position: int, *, has_tags: bool) -> tuple[LongDocument, int] | None:
    """The document, or the tag around one, that begins there, and the position of its text. None for any other value."""
    start = (_TAGGED_START if has_tags else _START).match(data, position)
    return (LongDocument(start[0], int(start[1]) if start.lastindex else None), start.end()) if start else None


def _follow(outside: bytes, closers: bytearray) -> bool:
    """Open and close the brackets of what is outside strings. Return True if the last one was closed."""
    for closer in outside.translate(_CLOSERS, _NO_BRACKETS):
        if closer:
            closers.append(closer)
            if len(closers) > MAX_DEPTH:
                raise ValueError("nested deeper than is surely read")
        else:
            closers.pop()
            if not closers:
                return True
    return False


def _last_comma(parts: list[bytes], first: int) -> int:
    """The position of the last comma outside strings. `parts` were split at quotes; `first` is the first one outside."""
    for index in reversed(range(first, len(parts), 2)):
        before, comma, _ = parts[index].rpartition(b",")
        if comma:
            return len(b'"'.join([*parts[:index], before]))
    raise ValueError("no comma")


def _end_in_string(masked: bytes) -> int:
    """The position at which a piece that ends inside a string can end without cutting an escape."""
    escape = masked.rfind(b"\\", -_LONGEST_ESCAPE_BYTES)
    return escape if escape >= 0 else len(masked)


def _parse(text: bytes, has_floats: bool) -> Any:
    """The value of canonical JSON. ValueError for other text."""
    value: JSON
    if not has_floats:
        # An integer has over 64 bits then, or the document is deeper than orjson goes.
        with suppress(ValueError, TypeError):
            value = orjson.loads(text)
            if orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == text:
                return value
    value = json.loads(text.decode())
    if canonical(value) != text:
        raise ValueError("not canonical")
    return value
