"""JSON to the values of documents: canonical JSON of our own, and texts from outside, at once or in short steps. Pure.

orjson reads JSON in a third of the time of Python's json, but makes floats of integers over 64 bits. So it reads only what has
no such run of digits. What it refuses Python's json reads, or refuses with the error that clients are told.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import suppress
from itertools import accumulate
from typing import Any, Final

import orjson

from kvserver.containers import fresh
from kvserver.errors import JSONUnclear, PayloadInvalid
from kvserver.formats.codec import (
    JSON,
    MAX_DEPTH,
    PIECE_BYTES,
    TOO_DEEP,
    canonical_strict,
    parse_strict,
    plainly,
    refuse_constant,
    utf8_pieces,
)
from kvserver.formats.longstring import LongString

# A text of more bytes is read in steps.
LONG_BYTES: Final = 1 << 16
# A step reads so many bytes at most, if a piece ends within them.
STEP_BYTES: Final = PIECE_BYTES // 4
# Where a piece is wrong, so many bytes behind it tell what is wrong.
_BEHIND_BYTES: Final = 64

_SPACE: Final = b" \t\n\r"
_SPACE_TEXT: Final = _SPACE.decode()
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
# Digits become zeros, so that a long integer and an exponent are found by the search for a fixed text.
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER: Final = b"0" * 19
_BRACKETS: Final = b"[]{}"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(_BRACKETS))
_DEEPER: Final = [1 if character in b"[{" else -1 for character in range(256)]
_CLOSERS: Final = {ord("["): "]", ord("{"): "}"}

_loose: Final = json.JSONDecoder()
_strict: Final = json.JSONDecoder(parse_constant=refuse_constant)


def parse(text: bytes) -> tuple[JSON, bool]:
    """Return the value of canonical JSON, and True if `NaN` or infinities may be among its numbers."""
    if _LONG_INTEGER not in text.translate(_ZEROS):
        # A lone surrogate or one of the constants that JSON does not have may be in it, or it is deeper than orjson goes.
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text), False
    return json.loads(text), True


def parse_outside(text: bytes) -> JSON:
    """Return the value of a text from outside. ValueError if it is not JSON; `codec.canonical_strict` has the limits."""
    brackets = text.translate(None, _NO_BRACKETS)
    # Brackets in strings are counted, too: then the long way tells.
    if max(accumulate(map(_DEEPER.__getitem__, brackets)), default=0) <= MAX_DEPTH and (
        _LONG_INTEGER not in text.translate(_ZEROS)
    ):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    value = parse_strict(text)
    canonical_strict(value)
    return value


def parse_steps(text: bytes, *, is_canonical: bool) -> Generator[None, None, tuple[JSON, bool]]:
    """Do what `parse` or `parse_outside` does in steps of some hundred microseconds. Return what `parse` does.

    ValueError as there, with the same text. Names, numbers and runs of white space longer than a step are read in one.
    """
    if not is_canonical:
        try:
            for _ in utf8_pieces(text):
                yield
        except UnicodeDecodeError:
            raise ValueError("JSON must be UTF-8") from None
    first = text[: len(text) - len(text.lstrip(_SPACE)) + 1][-1:]
    if not first or first not in b"[{":
        # A string, a number, or no JSON.
        return parse(text) if is_canonical else (parse_outside(text), False)
    try:
        return (yield from _Parsing(text, is_canonical=is_canonical).run())
    except JSONUnclear:
        return parse(text) if is_canonical else (parse_outside(text), False)


class _Parsing:
    """The reading of one array or object, piece by piece.

    A piece ends before a comma, wherever that stands outside strings, or before a long string. What it has of each container
    that was open before, and what it has of the last one, is JSON by itself with the brackets that are missing.
    """

    def __init__(self, text: bytes, *, is_canonical: bool) -> None:
        self._text = text
        self._is_canonical = is_canonical
        self._decoder = _loose if is_canonical else _strict
        # The bytes before it were read.
        self._position = 0
        # The containers that are open, from the root on.
        self._open: list[Any] = []
        # Nothing was read of the root but its bracket. Else a value has been read last.
        self._is_at_start = True
        self._has_constants = False
        # Something is out of range, or no text. That is told only of what is JSON.
        self._is_wrong = False
        # The characters and lines before the position, and the last character that ends a line.
        self._characters = self._lines = 0
        self._line_end = -1

    def run(self) -> Generator[None, None, tuple[JSON, bool]]:
        yield from self._skip_space()
        root: Any = [] if self._text[self._position : self._position + 1] == b"[" else {}
        self._open.append(root)
        self._move(1)
        size = STEP_BYTES
        while self._open:
            yield
            if self._read_piece(size) or (yield from self._read_string(size)):
                size = STEP_BYTES
            else:
                size *= 2
        yield from self._skip_space()
        if self._position < len(self._text):
            raise self._error("Extra data", "", 0)
        if self._is_wrong:
            raise JSONUnclear
        return root, self._has_constants

    def _skip_space(self) -> Generator[None, None, None]:
        while self._position < len(self._text):
            piece = self._text[self._position : self._position + PIECE_BYTES]
            rest = piece.lstrip(_SPACE)
            self._move(len(piece) - len(rest))
            if rest:
                return
            yield

    def _move(self, count: int) -> None:
        """Take so many bytes as read."""
        piece = self._text[self._position : self._position + count]
        self._position += count
        end = piece.rfind(b"\n")
        if end >= 0:
            self._line_end = self._characters + _length(piece[:end])
            self._lines += piece.count(b"\n")
        self._characters += _length(piece)

    # Pieces

    def _read_piece(self, size: int) -> bool:
        """Read a piece of no more bytes. False if none ends there."""
        window = self._text[self._position : self._position + size]
        parts = _parts(window)
        if self._position + len(window) < len(self._text):
            parts = _before_last_comma(parts)
            window = window[: len(b'"'.join(parts))]
            if not window:
                return False
        self._take(window, parts)
        return True

    def _read_string(self, size: int) -> Generator[None, None, bool]:
        """Read up to a string that does not end within so many bytes, and that. False if none is there that is a value."""
        window = self._text[self._position : self._position + size]
        *parts, string = _parts(window)
        if len(parts) % 2 == 0:
            return False
        before = parts[-1].rstrip(_SPACE)[-1:]
        if before == b",":
            before = b"," if self._opens_array(parts) else b""
        if not before or before not in b":[,":
            # It is a name, or no JSON.
            return False
        start = self._position + len(window) - len(string)
        reader, end = LongString(b'"', None), start
        try:
            moved = -1
            while not reader.has_ended and moved != end:
                moved, end = end, reader.read(self._text, end)
                yield
        except PayloadInvalid:
            return False
        found = reader.finish(self._text, end) if reader.has_ended else None
        if found is None or type(found[0]) is not bytes:
            # It has lone surrogates, or is no string.
            return False
        piece = window[: len(window) - len(string) - 1]
        container = self._take(piece, parts, string='""')
        name = _name(parts, len(parts) - 1, piece)
        container[-1 if name is None else name] = found[0].decode()
        while self._position < end:
            self._move(min(PIECE_BYTES, end - self._position))
            yield
        return True

    def _opens_array(self, parts: list[bytes]) -> bool:
        """True if what stands behind a piece is in an array."""
        opened, closed, _ = _follow(parts)
        if opened:
            return opened[-1] == ord("[")
        return closed < len(self._open) and type(self._open[-1 - closed]) is list

    def _take(self, piece: bytes, parts: list[bytes], string: str = "") -> Any:
        """Read a piece, in the parts between its quotes, and a string behind it. Return the container that is open then."""
        opened, closed, deepest = _follow(parts)
        if len(self._open) + deepest > MAX_DEPTH:
            raise JSONUnclear
        zeros = piece.translate(_ZEROS)
        has_long = _LONG_INTEGER in zeros
        is_suspect = has_long or b"\\u" in zeros or b"0e" in zeros or b"0E" in zeros
        if self._is_canonical:
            self._has_constants = self._has_constants or b"NaN" in piece or b"Infinity" in piece
        text = piece.decode()
        place = 0
        try:
            for _ in range(min(closed, len(self._open))):
                body = self._body(text[place:])
                value, end = self._decoder.raw_decode(body)
                if is_suspect:
                    self._check(value)
                _merge(self._open.pop(), value)
                place = len(text) - len(body) + end
                self._is_at_start = False
            if not self._open:
                self._move(len(text[:place].encode()))
                return None
            rest = text[place:].strip(_SPACE_TEXT)
            if self._position + len(piece) == len(self._text) or (not string and rest[-1:] in ("[", "{", ",")):
                # The text ends, or a comma stands where none may.
                raise ValueError("unfinished")
            container = self._open[-1]
            if rest or string:
                missing = "".join([_CLOSERS[each] for each in reversed(opened)]) + ("]" if type(container) is list else "}")
                _merge(container, self._parse(self._body(text[place:]) + string + missing, has_long=has_long))
                self._is_at_start = False
        except (ValueError, RecursionError):
            raise self._refusal(piece, text, place) from None
        for name in _names(parts, piece, len(opened)):
            container = container[-1 if name is None else name]
            self._open.append(container)
        fresh.note(len(opened) + closed + 1)
        self._move(len(piece))
        return container

    def _body(self, rest: str) -> str:
        """What is left of a piece, as the beginning of the container that is open last. ValueError for what may not follow."""
        opener = "[" if type(self._open[-1]) is list else "{"
        rest = rest.lstrip(_SPACE_TEXT)
        if self._is_at_start or rest[:1] in ("]", "}"):
            return opener + rest
        after = rest[1:].lstrip(_SPACE_TEXT)
        if rest[:1] != "," or after[:1] in ("]", "}"):
            raise ValueError("no member follows")
        return opener + after

    def _parse(self, text: str, *, has_long: bool) -> JSON:
        if not has_long:
            with suppress(orjson.JSONDecodeError):
                return orjson.loads(text)
        value = self._decoder.decode(text)
        self._check(value)
        return value

    def _check(self, value: JSON) -> None:
        """Note what is wrong with a value that Python's json has read, if it comes from outside."""
        if not self._is_canonical:
            try:
                canonical_strict(value)
            except ValueError:
                self._is_wrong = True

    # Errors

    def _refusal(self, piece: bytes, text: str, place: int) -> Exception:
        """The error for a piece, which is wrong from some place on: that of Python's json for the text as it stands."""
        behind = self._position + len(piece)
        text += self._text[behind : behind + _BEHIND_BYTES].decode("utf-8", "ignore")
        opener = "[" if type(self._open[-1]) is list else "{"
        before = opener if self._is_at_start else opener + ("0" if opener == "[" else '"":0')
        try:
            self._decoder.raw_decode(before + text[place:])
        except RecursionError:
            return ValueError(TOO_DEEP)
        except json.JSONDecodeError as error:
            return self._error(error.msg, text, error.pos - len(before) + place)
        except ValueError as error:
            return ValueError(plainly(error))
        return JSONUnclear()

    def _error(self, message: str, text: str, place: int) -> ValueError:
        """The error of Python's json for a place in the text that begins at the position."""
        line = text.rfind("\n", 0, place)
        column = self._characters + place - (self._line_end if line < 0 else self._characters + line)
        number = self._lines + text.count("\n", 0, place) + 1
        return ValueError(f"{message}: line {number} column {column} (char {self._characters + place})")


def _length(piece: bytes) -> int:
    """The number of characters of some UTF-8: those that begin in it."""
    return len(piece.translate(None, _CONTINUATION))


def _parts(window: bytes) -> list[bytes]:
    """What stands between the quotes that begin and end strings: what is outside strings, and what is inside, in turn."""
    return window.replace(rb"\\", b"..").replace(rb"\"", b"..").split(b'"')


def _before_last_comma(parts: list[bytes]) -> list[bytes]:
    """The parts up to the last comma outside strings; nothing if there is none."""
    for index in range((len(parts) - 1) & -2, -1, -2):
        place = parts[index].rfind(b",")
        if place >= 0:
            return [*parts[:index], parts[index][:place]]
    return [b""]


def _follow(parts: list[bytes]) -> tuple[list[int], int, int]:
    """The brackets that are open at the end of a piece, and the number of those that it closes without having opened them.

    The third is how many were open at once at most.
    """
    opened: list[int] = []
    closed = deepest = 0
    for bracket in b"".join(parts[::2]).translate(None, _NO_BRACKETS):
        if bracket in _CLOSERS:
            opened.append(bracket)
        elif opened:
            deepest = max(deepest, len(opened))
            opened.pop()
        else:
            closed += 1
    return opened, closed, max(deepest, len(opened))


def _names(parts: list[bytes], piece: bytes, count: int) -> list[str | None]:
    """The names of the containers that are open at the end of a piece, the innermost last; None for one in an array."""
    names: list[str | None] = []
    closed = 0
    for index in range((len(parts) - 1) & -2, -1, -2):
        if len(names) == count:
            break
        part = parts[index]
        for place in range(len(part) - 1, -1, -1):
            if part[place] in b"]}":
                closed += 1
            elif part[place] in b"[{":
                if closed:
                    closed -= 1
                elif len(names) < count:
                    names.append(_name(parts[: index + 1], index, piece, place))
    return names[::-1]


def _name(parts: list[bytes], index: int, piece: bytes, end: int | None = None) -> str | None:
    """The name of what stands at a place outside strings, or None if none stands before it."""
    if not parts[index][:end].rstrip(_SPACE).endswith(b":"):
        return None
    start = len(b'"'.join(parts[: index - 1])) + 1
    name: str = json.loads(b'"%b"' % piece[start : start + len(parts[index - 1])])
    return name


def _merge(container: Any, found: Any) -> None:
    if type(container) is list:
        container.extend(found)
    else:
        container.update(found)
