"""The layout of JSON: lines, indents and spaces between its parts, as JSON.GET takes them. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from kvserver.errors import CommandError


class Layout(NamedTuple):
    """The bytes between the parts of a document, none by default.

    `newline` begins each line, `indent` follows it once for each level, and `space` stands behind each colon.
    """

    indent: bytes = b""
    newline: bytes = b""
    space: bytes = b""

    def apply(self, text: bytes, limit_bytes: int) -> bytes:
        """Return canonical JSON, laid out. CommandError if that takes more bytes than the limit."""
        # A number stands for the start of a line at this level.
        pieces: list[bytes | int] = []
        level = 0
        for token in _TOKENS.findall(text):
            if token in (b"[", b"{"):
                level += 1
                pieces += (token, level)
            elif token in (b"]", b"}"):
                level -= 1
                pieces += (level, token)
            elif token == b",":
                pieces += (token, level)
            else:
                pieces.append(token)
        starts = [piece for piece in pieces if isinstance(piece, int)]
        # The length is checked before any of the text is made: a long indent would be repeated many times.
        added = len(starts) * len(self.newline) + sum(starts) * len(self.indent) + pieces.count(b":") * len(self.space)
        if len(text) + added > limit_bytes:
            raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        lines = {start: self.newline + self.indent * start for start in set(starts)}
        colon = b":" + self.space
        return b"".join([lines[piece] if isinstance(piece, int) else colon if piece == b":" else piece for piece in pieces])


# A string, an empty array or object, punctuation, a number or word.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[\]|\{\}|[][{},:]|[^][{},:"]+')
