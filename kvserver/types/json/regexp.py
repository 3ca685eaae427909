"""Regular expressions in paths, matched in a time that grows with the text and never with what a pattern could mean. Pure.

Python's `re` goes back and tries again: a pattern of ten characters could keep a server busy for years. Here a pattern is an
automaton that reads each character once; what it has found out about a set of states and a character it remembers.

A pattern is an I-Regexp (RFC 9485). Beyond that it may have what Rust's regex takes, which RedisJSON uses: `^` and `$`,
`\\d`, `\\w` and `\\s`, lazy quantifiers, `(?:…)` and `(?i)` in front.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final, NamedTuple

from kvserver.errors import PatternInvalid
from kvserver.types.json.segments import CHUNK, Chunk, InChunks
from kvserver.types.json.work import Work

# A pattern that needs more states matches nothing, as one that is no pattern.
_MOST_STATES: Final = 2000
_MOST_REPEATS: Final = 1000
_MOST_NESTING: Final = 32
# The sets of states that a pattern remembers.
_MOST_SETS: Final = 500
_SPECIAL: Final = frozenset("()*+.?[]\\{|}")
_NAMED: Final[dict[str, Callable[[str], bool]]] = {
    "d": lambda char: unicodedata.category(char) == "Nd",
    "w": lambda char: char == "_" or char.isalnum() or unicodedata.category(char)[0] == "M",
    "s": str.isspace,
}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}

Takes = Callable[[str], bool]


# The parts of a pattern.


class _One(NamedTuple):
    takes: Takes


class _Edge(NamedTuple):
    is_end: bool


class _All(NamedTuple):
    parts: list[_Part]


class _Any(NamedTuple):
    parts: list[_Part]


class _Repeat(NamedTuple):
    part: _Part
    least: int
    most: int | None


_Part = _One | _Edge | _All | _Any | _Repeat


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._depth = 0
        self._ignores_case = self._skip("(?i)")

    def read_all(self) -> _Part:
        part = self._read_any()
        if self._place != len(self._text):
            raise PatternInvalid
        return part

    @property
    def _next(self) -> str:
        return self._text[self._place : self._place + 1]

    def _skip(self, text: str) -> bool:
        found = self._text.startswith(text, self._place)
        if found:
            self._place += len(text)
        return found

    def _read_any(self) -> _Part:
        self._depth += 1
        if self._depth > _MOST_NESTING:
            raise PatternInvalid
        parts = [self._read_row()]
        while self._skip("|"):
            parts.append(self._read_row())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else _Any(parts)

    def _read_row(self) -> _Part:
        parts: list[_Part] = []
        while self._next and self._next not in "|)":
            parts.append(self._read_repeat(self._read_one()))
        return _All(parts)

    def _read_repeat(self, part: _Part) -> _Part:
        while True:
            if self._skip("*"):
                part = _Repeat(part, 0, None)
            elif self._skip("+"):
                part = _Repeat(part, 1, None)
            elif self._skip("?"):
                part = _Repeat(part, 0, 1)
            elif self._skip("{"):
                part = self._read_counts(part)
            else:
                return part
            # Lazy or not, the same texts match.
            self._skip("?")

    def _read_counts(self, part: _Part) -> _Part:
        least = self._read_number()
        most: int | None = least
        if self._skip(","):
            most = None if self._next == "}" else self._read_number()
        if not self._skip("}") or (most is not None and most < least):
            raise PatternInvalid
        return _Repeat(part, least, most)

    def _read_number(self) -> int:
        start = self._place
        while self._next.isascii() and self._next.isdigit():
            self._place += 1
        digits = self._text[start : self._place]
        if not digits or len(digits) > len(str(_MOST_REPEATS)) or int(digits) > _MOST_REPEATS:
            raise PatternInvalid
        return int(digits)

    def _read_one(self) -> _Part:
        char = self._next
        self._place += 1
        if char == "(":
            self._skip("?:")
            part = self._read_any()
            if not self._skip(")"):
                raise PatternInvalid
            return part
        if char in "^$":
            return _Edge(char == "$")
        if char == ".":
            return _One(lambda char: char not in "\n\r")
        if char == "[":
            return self._one(self._read_class())
        if char == "\\":
            return self._one(self._read_escape())
        if char in _SPECIAL:
            raise PatternInvalid
        return self._one(char.__eq__)

    def _one(self, takes: Takes) -> _One:
        if self._ignores_case:
            return _One(lambda char: takes(char) or takes(char.lower()) or takes(char.upper()))
        return _One(takes)

    def _read_escape(self) -> Takes:
        char = self._next
        self._place += 1
        if char in ("p", "P"):
            return self._read_category(char == "P")
        if char.lower() in _NAMED:
            named = _NAMED[char.lower()]
            return named if char.islower() else lambda char: not named(char)
        return self._escaped(char).__eq__

    def _escaped(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if not char or char.isalnum():
            raise PatternInvalid
        return char

    def _read_category(self, is_other: bool) -> Takes:
        end = self._text.find("}", self._place)
        name = self._text[self._place + 1 : end]
        if self._next != "{" or end < 0 or len(name) not in (1, 2) or not name.isascii() or not name.isalpha():
            raise PatternInvalid
        self._place = end + 1
        return lambda char: unicodedata.category(char).startswith(name) is not is_other

    def _read_class(self) -> Takes:
        is_other = self._skip("^")
        ranges: list[tuple[str, str]] = []
        named: list[Takes] = []
        while not self._skip("]"):
            if self._next == "\\" and self._text[self._place + 1 : self._place + 2] in tuple("pPdDwWsS"):
                self._place += 1
                named.append(self._read_escape())
                continue
            first = self._read_member()
            last = first
            if self._next == "-" and self._text[self._place + 1 : self._place + 2] not in ("]", ""):
                self._place += 1
                last = self._read_member()
            if last < first:
                raise PatternInvalid
            ranges.append((first, last))
        if not ranges and not named:
            raise PatternInvalid

        def takes(char: str) -> bool:
            found = any(first <= char <= last for first, last in ranges) or any(each(char) for each in named)
            return found is not is_other

        return takes

    def _read_member(self) -> str:
        char = self._next
        self._place += 1
        if char == "\\":
            char = self._escaped(self._next)
            self._place += 1
        elif char in ("", "["):
            raise PatternInvalid
        return char


# The automaton. A state is a step: over a character, to other states, or over an edge of the text. The last one is the end.


class _States:
    """Makes the states of a pattern, from its end to its beginning."""

    def __init__(self) -> None:
        self.takes: list[Takes | None] = [None]
        self.ways: list[tuple[int, ...]] = [()]
        self.edges: dict[int, bool] = {}

    def add(self, takes: Takes | None, *ways: int) -> int:
        if len(self.takes) >= _MOST_STATES:
            raise PatternInvalid
        self.takes.append(takes)
        self.ways.append(ways)
        return len(self.takes) - 1

    def of(self, part: _Part, behind: int) -> int:
        """Make the states of a part that has the state `behind` behind it. Return the first one."""
        match part:
            case _One(takes):
                return self.add(takes, behind)
            case _Edge(is_end):
                state = self.add(None, behind)
                self.edges[state] = is_end
                return state
            case _All(parts):
                for each in reversed(parts):
                    behind = self.of(each, behind)
                return behind
            case _Any(parts):
                return self.add(None, *[self.of(each, behind) for each in parts])
            case _Repeat(each, least, most):
                if most is None:
                    loop = self.add(None)
                    self.ways[loop] = (self.of(each, loop), behind)
                    behind = loop
                else:
                    after = behind
                    for _ in range(most - least):
                        behind = self.add(None, self.of(each, behind), after)
                for _ in range(least):
                    behind = self.of(each, behind)
                return behind


class _Set:
    """States that the automaton may be in at once, and where characters lead from there, as far as that was asked."""

    __slots__ = ("accepts", "accepts_at_end", "members", "next")

    def __init__(self, members: frozenset[int], accepts_at_end: bool) -> None:
        self.members = members
        self.accepts = 0 in members
        self.accepts_at_end = accepts_at_end
        self.next: dict[str, _Set] = {}


class Pattern:
    """A pattern, to be asked if texts match."""

    def __init__(self, part: _Part, is_search: bool) -> None:
        self._is_search = is_search
        self._states = _States()
        self._first = self._states.of(part, 0)
        self._sets: dict[frozenset[int], _Set] = {}

    def matches(self, text: str, work: Work) -> InChunks[bool]:
        """Return True if the whole text matches; for a search, if a part of it does. Yield empty chunks as time passes."""
        if not text:
            # Its start is its end.
            return 0 in self._closure([self._first], at_start=True, at_end=True)
        present = self._set(self._closure([self._first], at_start=True))
        for start in range(0, len(text), CHUNK):
            piece = text[start : start + CHUNK]
            for char in piece:
                if self._is_search and present.accepts:
                    return True
                following = present.next.get(char)
                if following is None:
                    work.spend(len(present.members))
                    following = self._follow(present, char)
                    yield from _PAUSE
                present = following
            work.spend(len(piece))
            yield from _PAUSE
        return present.accepts_at_end

    def _follow(self, present: _Set, char: str) -> _Set:
        states = self._states
        reached = [states.ways[each][0] for each in present.members if (takes := states.takes[each]) and takes(char)]
        if self._is_search:
            reached.append(self._first)
        following = self._set(self._closure(reached, at_start=False))
        present.next[char] = following
        return following

    def _set(self, members: frozenset[int]) -> _Set:
        found = self._sets.get(members)
        if found is None:
            if len(self._sets) >= _MOST_SETS:
                for each in self._sets.values():
                    each.next.clear()
                self._sets.clear()
            found = self._sets[members] = _Set(members, 0 in self._closure(members, at_start=False, at_end=True))
        return found

    def _closure(self, reached: Collection[int], *, at_start: bool, at_end: bool = False) -> frozenset[int]:
        """The states, and all that are reached from these without a character."""
        states, found, waiting = self._states, set(reached), list(reached)
        while waiting:
            state = waiting.pop()
            if states.takes[state]:
                continue
            is_end = states.edges.get(state)
            if is_end is not None and not (at_end if is_end else at_start):
                continue
            for way in states.ways[state]:
                if way not in found:
                    found.add(way)
                    waiting.append(way)
        return frozenset(found)


_PAUSE: Final[tuple[Chunk, ...]] = ([],)


@lru_cache(maxsize=64)
def pattern(text: str, is_search: bool) -> Pattern | None:
    """The pattern that a text is; None if it is none, or takes too many states."""
    try:
        return Pattern(_Reader(text).read_all(), is_search)
    except PatternInvalid:
        return None
