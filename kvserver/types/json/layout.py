"""The layout of JSON: lines, indents and spaces between its parts, as JSON.GET takes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Final, NamedTuple

from kvserver.data.steps import Steps
from kvserver.errors import CommandError
from kvserver.types.json.work import Work


class Layout(NamedTuple):
    """The bytes between the parts of a document, none by default.

    `newline` begins each line, `indent` follows it once for each level, and `space` stands behind each colon.
    """

    indent: bytes = b""
    newline: bytes = b""
    space: bytes = b""

    def apply(self, text: bytes, limit_bytes: int) -> Steps[bytes]:
        """Return canonical JSON, laid out. CommandError if that takes more bytes than the limit."""
        work = Work.unlimited()
        # The length is checked before any of the text is made: a long indent would be repeated many times.
        level = lines = levels = colons = 0
        for tokens in _tokens(text):
            for token in tokens:
                if token in _OPENERS or token in _CLOSERS or token == b",":
                    level += (token in _OPENERS) - (token in _CLOSERS)
                    lines, levels = lines + 1, levels + level
                elif token == b":":
                    colons += 1
            work.spend(len(tokens))
            if work.is_due():
                yield
        if len(text) + lines * len(self.newline) + levels * len(self.indent) + colons * len(self.space) > limit_bytes:
            raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        starts: dict[int, bytes] = {}
        gathered = BytesIO()
        for tokens in _tokens(text):
            for token in tokens:
                if token in _OPENERS or token in _CLOSERS or token == b",":
                    level += (token in _OPENERS) - (token in _CLOSERS)
                    if level not in starts:
                        starts[level] = self.newline + self.indent * level
                    gathered.write(starts[level] + token if token in _CLOSERS else token + starts[level])
                else:
                    gathered.write(token + self.space if token == b":" else token)
            work.spend(len(tokens))
            if work.is_due():
                yield
        return gathered.getvalue()


_OPENERS: Final = (b"[", b"{")
_CLOSERS: Final = (b"]", b"}")


def _tokens(text: bytes) -> Iterator[list[bytes]]:
    """Yield the tokens of canonical JSON, some at a time."""
    found = _TOKENS.finditer(text)
    while tokens := [each[0] for each in islice(found, _TOKENS_A_PIECE)]:
        yield tokens


_TOKENS_A_PIECE: Final = 128
# A string, an empty array or object, punctuation, a number or word.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[\]|\{\}|[][{},:]|[^][{},:"]+')
