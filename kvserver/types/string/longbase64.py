"""The reader of a payload's long strings that are not UTF-8: it turns base64 into bytes piece by piece, in short steps. Pure.

A string is gathered in a buffer that becomes the value, so that nothing is copied twice.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from codecs import getincrementaldecoder
from io import BytesIO
from typing import Final

from kvserver.data.entries import Entry, Expiring
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.longstring import INTEGER

_TAIL: Final = re.compile(rb'(?:,"expires_at_ms":' + INTEGER + rb")?\}\}")


class LongBase64:
    """A LongReader of the tag for bytes that are not UTF-8. Their expiry stands behind them."""

    def __init__(self, opening: bytes) -> None:
        self.has_ended = False
        self._opening = opening
        # True when the opening quote has been read.
        self._has_begun = False
        self._content = BytesIO()
        self._decoder = getincrementaldecoder("utf-8")()
        # True if the bytes so far are UTF-8, which is never encoded like this.
        self._is_utf8 = True
        self._is_padded = False

    def read(self, data: bytes, position: int) -> int | None:
        if not self._has_begun:
            quote = data[position : position + 1]
            if quote != b'"':
                return None if quote else position
            self._has_begun = True
            return position + 1
        end = data.find(b'"', position, position + PIECE_BYTES)
        self.has_ended = end >= 0
        if not self.has_ended:
            end = min(position + PIECE_BYTES, len(data))
            end -= (end - position) % 4
        piece = data[position:end]
        content = decode_base64(piece)
        if content is None or (piece and self._is_padded):
            self.has_ended = False
            return None
        self._is_padded = piece.endswith(b"=") or self._is_padded
        self._content.write(content)
        if self._is_utf8:
            try:
                self._decoder.decode(content, self.has_ended)
            except UnicodeDecodeError:
                self._is_utf8 = False
        return end + self.has_ended

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        tail = _TAIL.match(data, position)
        if not tail or self._is_utf8:
            return None
        value = self._content.getvalue()
        return (Expiring(value, int(tail[1])) if tail[1] else value), tail.end()

    def as_json(self) -> bytes:
        return self._opening + b'"' * self._has_begun + b64encode(self._content.getvalue()) + b'"' * self.has_ended


def decode_base64(text: bytes) -> bytes | None:
    """The bytes of a base64 text, or None if the encoder would not write them like this."""
    try:
        content = b64decode(text, validate=True)
    except binascii.Error:
        return None
    return content if b64encode(content) == text else None
