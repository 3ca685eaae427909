"""The words of a line, quoted as Redis reads and writes them (sdssplitargs and sdscatrepr in sds.c of redis 7.0). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PIECE = re.compile(
    rb"""[^\s"']+ | "(?:\\x[0-9a-fA-F]{2} | \\. | [^"\\])*"(?=\s|$) | '(?:\\' | (?!\\')[^'])*'(?=\s|$)""",
    re.VERBOSE | re.DOTALL,
)
# The characters that stand for themselves in double quotes.
_PLAIN = frozenset(map(chr, range(32, 127))) - {'"', "\\"}
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_words(line: str) -> list[str] | None:
    """The words of a line of a file; none of a comment; None if a quote doesn't end."""
    data = _encoded(line.strip(" \t\r\n"))
    words = [] if data.startswith(b"#") else split_arguments(data)
    return None if words is None else [word.decode("utf-8", "surrogateescape") for word in words]


def split_arguments(data: bytes) -> list[bytes] | None:
    """The words of a text, in which nothing is a comment; None if a quote doesn't end."""
    data, words, at = data.strip(), [], 0
    while at < len(data):
        word = b""
        while at < len(data) and not data[at : at + 1].isspace():
            piece = _PIECE.match(data, at)
            if piece is None:
                return None
            word += _unquoted(piece[0])
            at = piece.end()
        words.append(word)
        while data[at : at + 1].isspace():
            at += 1
    return words


def _unquoted(piece: bytes) -> bytes:
    if piece[:1] == b"'":
        return piece[1:-1].replace(rb"\'", b"'")
    if piece[:1] != b'"':
        return piece
    return re.sub(
        rb"\\(?:x([0-9a-fA-F]{2})|(.))",
        lambda escape: bytes.fromhex(escape[1].decode()) if escape[1] else _ESCAPES.get(escape[2], escape[2]),
        piece[1:-1],
        flags=re.DOTALL,
    )


def quoted(value: str) -> str:
    """A value as a word of a line: in quotes, and with escapes, where it needs them."""
    data = _encoded(value)
    if re.fullmatch(rb"[!$-&(-~][!#-&(-~]*", data):
        return value
    return '"' + "".join(chr(byte) if chr(byte) in _PLAIN else rf"\x{byte:02x}" for byte in data) + '"'


def join_words(words: Iterable[str]) -> str:
    """The line that has these words."""
    return " ".join(map(quoted, words))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
