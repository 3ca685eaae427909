"""Long strings of a payload, which come in pieces: JSON's escapes to the bytes of a value, in short steps. Pure.

A string is gathered in a buffer that becomes the value, so that nothing is copied twice. A tag counts only if it is exactly
what the encoder would have written (`tags`); if it is something else, `as_json` gives back what was read of it, and the
decoder reads it as a whole.
"""

from __future__ import annotations

import json
import re
from codecs import utf_8_decode
from io import BytesIO
from typing import Final

import orjson

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.errors import PayloadInvalid
from kvserver.formats.codec import PIECE_BYTES, JSONText, canonical, canonical_string

# No tail of a tag is longer.
TAIL_BYTES: Final = 64
# A time of 64 bits. The few of that length which it leaves out are read like those that are none.
INTEGER: Final = rb"(0|-?[1-9][0-9]{0,17}|-?[1-8][0-9]{18})"
# The text of a piece with escapes, up to the quote that ends the string, or an escape that is cut off.
_UNITS: Final = re.compile(rb'(?:[^"\\]++|\\[^u]|\\u.{4})*+', re.DOTALL)
_START: Final = re.compile(rb'"|\{"\$kvs":\{"expires_at_ms":' + INTEGER + rb',"value":"')
TAG_END: Final = b"}}"


class LongString:
    """The reader of a string, or of a tag around a string, if `opening` is more than a quote (`data.kinds.LongReader`).

    `expires_at_ms` is the expiry of the tag (Unix milliseconds); None: there is no tag.
    """

    def __init__(self, opening: bytes, expires_at_ms: int | None) -> None:
        # The closing quote has been read.
        self.has_ended = False
        self._opening = opening
        self._expires_at_ms = expires_at_ms
        self._content = BytesIO()
        # One half of a surrogate pair, whose other half is behind the piece.
        self._half = ""
        # There are surrogates without their other halves: such a text has no UTF-8.
        self._has_surrogates = False

    def read(self, data: bytes, position: int) -> int:
        """Read a piece that begins at the position. Return the position of the next one, or the same if more data is needed.

        PayloadInvalid for what is no JSON, or not UTF-8.
        """
        end = min(position + PIECE_BYTES, len(data))
        quote = data.find(b'"', position, end)
        if quote >= 0:
            end = quote
        if data.find(b"\\", position, end) >= 0:
            # A piece with escapes is shorter, since it takes longer.
            match = _UNITS.match(data, position, min(position + PIECE_BYTES // 4, len(data)))
            assert match is not None
            end = match.end()
        self.has_ended = data[end : end + 1] == b'"'
        try:
            text, length = utf_8_decode(data[position:end], "strict", self.has_ended)
            self._add(_unescape(text))
        except UnicodeDecodeError as error:
            raise PayloadInvalid(f"the payload is not UTF-8: {error.reason}") from None
        except ValueError as error:
            raise PayloadInvalid(f"the payload is not JSON: {error}") from None
        return position + length + self.has_ended

    def _add(self, text: str) -> None:
        text, self._half = self._half + text, ""
        if not self.has_ended and text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            self._content.write(text.encode())
        except UnicodeEncodeError:
            # This joins the halves of a pair.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            self._has_surrogates = self._has_surrogates or any("\ud800" <= character <= "\udfff" for character in text)
            self._content.write(text.encode("utf-8", "surrogatepass"))

    def _value(self) -> Value:
        content = self._content.getvalue()
        return JSONText(canonical(content.decode("utf-8", "surrogatepass"))) if self._has_surrogates else content

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        """Return the entry and the position of its end, by what stands behind the closing quote, or None if this is no tag."""
        if self._expires_at_ms is None:
            return self._value(), position
        if not data.startswith(TAG_END, position):
            return None
        return Expiring(self._value(), self._expires_at_ms), position + len(TAG_END)

    def as_json(self) -> bytes:
        """JSON that means what was read, with the closing quote."""
        text = self._content.getvalue().decode("utf-8", "surrogatepass")
        return self._opening + canonical_string(text)[1:]


def begin_string(data: bytes, position: int, *, has_tags: bool) -> tuple[LongString, int] | None:
    """The reader of the string, or the tag around one, at the position, and the position of its text; None for others."""
    start = _START.match(data, position)
    if not start or (not has_tags and start.end() > position + 1):
        return None
    return LongString(start[0], int(start[1]) if start[1] else None), start.end()


def _unescape(part: str) -> str:
    """The text of a part of a JSON string. ValueError if the part is no JSON."""
    text: str
    try:
        text = orjson.loads(f'"{part}"')
    except orjson.JSONDecodeError:
        # It may be a lone surrogate, which Python's json reads.
        text = json.loads(f'"{part}"')
    return text
