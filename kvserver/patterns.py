r"""Redis's glob patterns over bytes: `*`, `?`, `[a-c]`, `[^a]` and `\*`. Pure, and without regular expressions.

The meaning is that of stringmatchlen in Redis 7.0's util.c with all its corners: a class may lack its `]`; an escaped
byte in a class begins no range; the ends of a range may be in any order and are compared as signed bytes; and the empty
text is matched by the empty pattern alone, so that a caller for which a lone `*` means everything must ask for it first.

A pattern is divided at its stars into segments. Each segment is looked for once, from the left, behind the one before: no
pattern takes exponential time, nor time that grows with stars times text. A segment that has classes or `?` is looked for
from all places at once, as the bits of one integer (the shift-and algorithm).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Matcher = Callable[[bytes], bool]
# The bytes that may stand at one position of a text.
Token = frozenset[int]

# A pattern that stands for everything to those who ask for it first.
EVERYTHING: Final = b"*"
_SPECIAL: Final = frozenset(b"*?[\\")
_ANY: Final = frozenset(range(256))
_SINGLE: Final = tuple(frozenset((byte,)) for byte in range(256))


def is_literal(pattern: bytes) -> bool:
    """True if the pattern has no special byte, so that it matches only the text that is equal to it."""
    return not any(byte in pattern for byte in _SPECIAL)


def matcher(pattern: bytes, *, ignore_case: bool = False) -> Matcher:
    """A function that tells if a text matches the pattern. `ignore_case` is for ASCII letters, as in CONFIG GET."""
    if not ignore_case and is_literal(pattern):
        return pattern.__eq__
    segments = _segments(pattern, ignore_case)
    literals = [_literal(segment) for segment in segments]
    if len(segments) == 2:
        head, tail = literals
        if head is not None and tail is not None:
            return _between(head, tail)
    first, *rest = map(_Segment, segments)
    if not rest:
        return first.is_all_of
    return _around(first, rest[:-1], rest[-1])


def key_matcher(pattern: bytes) -> Matcher:
    """A function that tells if a key matches, as for KEYS: a lone star stands for all keys, the empty one, too."""
    return (lambda key: True) if pattern == EVERYTHING else matcher(pattern)


def _between(head: bytes, tail: bytes) -> Matcher:
    """A matcher for `head*tail`, the most common kind of pattern."""
    if not tail:
        return (lambda text: text.startswith(head)) if head else bool
    if not head:
        return lambda text: text.endswith(tail)
    least = len(head) + len(tail)
    return lambda text: text.startswith(head) and text.endswith(tail) and len(text) >= least


def _around(first: _Segment, middle: list[_Segment], last: _Segment) -> Matcher:
    """A matcher for `first*middle*middle*last`."""
    least = first.length + last.length

    def matches(text: bytes) -> bool:
        stop = len(text) - last.length
        if len(text) < least or not text or not first.is_at(text, 0) or not last.is_at(text, stop):
            return False
        position = first.length
        for segment in middle:
            position = segment.end_of_first(text, position, stop)
            if position < 0:
                return False
        return True

    return matches


class _Segment:
    """The part of a pattern between two stars: a token for each position."""

    def __init__(self, tokens: list[Token]) -> None:
        self.length = len(tokens)
        self._tokens = tokens
        self._literal = _literal(tokens)
        # For each byte that was met, the positions that it may have, as bits.
        self._masks: dict[int, int] = {}

    def is_all_of(self, text: bytes) -> bool:
        return len(text) == self.length and self.is_at(text, 0)

    def is_at(self, text: bytes, start: int) -> bool:
        if self._literal is not None:
            return text.startswith(self._literal, start)
        return all(byte in token for byte, token in zip(text[start : start + self.length], self._tokens, strict=True))

    def end_of_first(self, text: bytes, start: int, stop: int) -> int:
        """The end of the segment's first occurrence in `text[start:stop]`, or -1."""
        if self._literal is not None:
            found = text.find(self._literal, start, stop)
            return found if found < 0 else found + self.length
        masks, whole, begun = self._masks, 1 << (self.length - 1), 0
        for position in range(start, stop):
            byte = text[position]
            mask = masks.get(byte)
            if mask is None:
                # The integer is made of a text of digits, since to set bit after bit would copy it each time.
                digits = bytes(b"01"[byte in token] for token in reversed(self._tokens))
                mask = masks[byte] = int(digits, 2)
            begun = (begun << 1 | 1) & mask
            if begun & whole:
                return position + 1
        return -1


def _literal(tokens: list[Token]) -> bytes | None:
    """The text that these tokens match, or None if they match several."""
    return bytes(byte for token in tokens for byte in token) if all(len(token) == 1 for token in tokens) else None


def _segments(pattern: bytes, ignore_case: bool) -> list[list[Token]]:
    """The tokens of the pattern, divided at its stars. Several stars in a row count as one."""
    tokens: list[Token] = []
    segments = [tokens]
    position, end = 0, len(pattern)
    while position < end:
        byte = pattern[position]
        position += 1
        if byte == ord("*"):
            if tokens or len(segments) == 1:
                tokens = []
                segments.append(tokens)
        elif byte == ord("?"):
            tokens.append(_ANY)
        elif byte == ord("["):
            token, position = _read_class(pattern, position, ignore_case)
            tokens.append(token)
        else:
            if byte == ord("\\") and position < end:
                byte = pattern[position]
                position += 1
            tokens.append(_both_cases(byte) if ignore_case else _SINGLE[byte])
    return segments


def _read_class(pattern: bytes, position: int, ignore_case: bool) -> tuple[Token, int]:
    """The bytes that a class stands for, and the position behind it. `position` is the one behind its `[`."""
    end = len(pattern)
    members: set[int] = set()
    is_inverted = pattern[position : position + 1] == b"^"
    position += is_inverted
    while position < end:
        byte = pattern[position]
        if byte == ord("\\") and position + 1 < end:
            # An escaped byte stands for itself alone, also where case is ignored.
            position += 1
            members.add(pattern[position])
        elif byte == ord("]"):
            position += 1
            break
        elif position + 2 < end and pattern[position + 1] == ord("-"):
            position += 2
            members |= _range(byte, pattern[position], ignore_case)
        else:
            members |= _both_cases(byte) if ignore_case else _SINGLE[byte]
        position += 1
    return frozenset(_ANY - members if is_inverted else members), position


def _range(first: int, last: int, ignore_case: bool) -> set[int]:
    low, high = sorted((_signed(first), _signed(last)))
    if not ignore_case:
        return {byte for byte in _ANY if low <= _signed(byte) <= high}
    low, high = _lower(low), _lower(high)
    return {byte for byte in _ANY if low <= _lower(_signed(byte)) <= high}


def _signed(byte: int) -> int:
    """The value of the byte as a signed char of C, which it is where Redis mostly runs."""
    return byte - 256 if byte > 127 else byte


def _lower(byte: int) -> int:
    return byte + 32 if ord("A") <= byte <= ord("Z") else byte


def _both_cases(byte: int) -> Token:
    return frozenset(bytes((byte,)).lower() + bytes((byte,)).upper())
