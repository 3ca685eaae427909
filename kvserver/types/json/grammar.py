"""The text of a path to its segments. Pure.

The grammar is that of RFC 9535. RedisJSON takes more, which clients rely on, and so do we: a dot in front of a bracket
(`$.[0]`), names of digits and some signs behind a dot (`$.1`, `$.a-b`), and `=~` between a string and a regular expression.
"""

from __future__ import annotations

import json
import re
from typing import Final

from kvserver.errors import CommandError
from kvserver.types.json.filters import (
    Both,
    Compare,
    Count,
    Exists,
    Length,
    Literal,
    Matches,
    Not,
    Operand,
    Query,
    ValueOf,
)
from kvserver.types.json.segments import Filter, Index, Name, Segment, Selector, Slice, Test, Wildcard

# Filters in filters, and parentheses, go no deeper.
_MOST_NESTING: Final = 64
# Integers that every reader of JSON takes as they are (RFC 9535, 2.1).
_MOST_EXACT: Final = 2**53 - 1

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_SHORT_NAME: Final = re.compile(r"[\w\-`~+#%$^/:\x80-\U0010ffff]+", re.ASCII)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_STRINGS: Final = {
    '"': re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*)"'),
    "'": re.compile(r"'((?:[^'\\\x00-\x1f]|\\(?:['\\/bfnrt]|u[0-9A-Fa-f]{4}))*)'"),
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SIGN: Final = re.compile(r"==|!=|<=|>=|=~|<|>")
_WORD: Final = re.compile(r"(true|false|null)(?![A-Za-z0-9_(])")
_WORDS: Final = {"true": True, "false": False, "null": None}
_FUNCTION: Final = re.compile(r"([a-z][a-z0-9_]*)\(")
# What is written in another way in a string with double quotes than in one with single quotes.
_REQUOTED: Final = re.compile(r"\\'|\"")


def segments_of(text: str) -> tuple[Segment, ...]:
    """The segments of a path that begins with `$`. CommandError, with the position (from 1), if it is none."""
    return _Reader(text).read_all()


class _Reader:
    """Reads a path from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._depth = 0

    def read_all(self) -> tuple[Segment, ...]:
        self._expect("$")
        segments = self._read_segments()
        if self._place != len(self._text):
            raise self._wrong("`.`, `[` or the end")
        return segments

    def _wrong(self, expected: str, place: int | None = None) -> CommandError:
        place = self._place if place is None else place
        return CommandError(f"ERR Error occurred on position {place + 1}, expected {expected}")

    def _skip(self, text: str) -> bool:
        found = self._text.startswith(text, self._place)
        if found:
            self._place += len(text)
        return found

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise self._wrong(f"`{text}`")

    def _skip_blanks(self) -> None:
        blank = _BLANK.match(self._text, self._place)
        assert blank is not None
        self._place = blank.end()

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._place)
        if found:
            self._place = found.end()
        return found

    # Segments and selectors

    def _read_segments(self) -> tuple[Segment, ...]:
        segments = []
        while True:
            start = self._place
            self._skip_blanks()
            if self._skip(".."):
                segments.append(Segment(self._read_dotted(), True))
            elif self._skip("."):
                segments.append(Segment(self._read_dotted(), False))
            elif self._skip("["):
                segments.append(Segment(self._read_selectors(), False))
            else:
                self._place = start
                return tuple(segments)

    def _read_dotted(self) -> tuple[Selector, ...]:
        if self._skip("["):
            return self._read_selectors()
        if self._skip("*"):
            return (Wildcard(),)
        name = self._match(_SHORT_NAME)
        if not name:
            raise self._wrong("a name, `*` or `[`")
        return (Name(name[0]),)

    def _read_selectors(self) -> tuple[Selector, ...]:
        selectors = []
        while True:
            self._skip_blanks()
            selectors.append(self._read_selector())
            self._skip_blanks()
            if self._skip("]"):
                return tuple(selectors)
            if not self._skip(","):
                raise self._wrong("`,` or `]`")

    def _read_selector(self) -> Selector:
        if self._skip("*"):
            return Wildcard()
        if self._skip("?"):
            self._skip_blanks()
            return Filter(self._read_any())
        name = self._read_string()
        if name is not None:
            return Name(name)
        start = self._read_integer()
        place = self._place
        self._skip_blanks()
        if not self._skip(":"):
            if start is None:
                raise self._wrong("a string, an integer, `:`, `*` or `?`", place)
            self._place = place
            return Index(start)
        self._skip_blanks()
        end = self._read_integer()
        self._skip_blanks()
        step = None
        if self._skip(":"):
            self._skip_blanks()
            step = self._read_integer()
        return Slice(start, end, step)

    def _read_integer(self) -> int | None:
        start = self._place
        found = self._match(_INTEGER)
        if not found:
            return None
        if len(found[0]) > len(str(-_MOST_EXACT)) or abs(int(found[0])) > _MOST_EXACT:
            raise self._wrong(f"an integer of up to {_MOST_EXACT}", start)
        return int(found[0])

    def _read_string(self) -> str | None:
        quote = self._text[self._place : self._place + 1]
        if quote not in _STRINGS:
            return None
        start = self._place
        found = self._match(_STRINGS[quote])
        if not found:
            raise self._wrong("a string that ends, with valid escapes")
        text = found[1]
        if quote == "'":
            text = _REQUOTED.sub(lambda each: "'" if each[0] == "\\'" else '\\"', text)
        value: str = json.loads(f'"{text}"')
        if _SURROGATE.search(value):
            raise self._wrong("a string without lone surrogates", start)
        return value

    # Filters

    def _read_any(self) -> Test:
        self._depth += 1
        if self._depth > _MOST_NESTING:
            raise self._wrong("filters that are not nested as deep")
        tests = [self._read_all_of()]
        while self._skip_sign("||"):
            tests.append(self._read_all_of())
        self._depth -= 1
        return tests[0] if len(tests) == 1 else Both(tests, True)

    def _read_all_of(self) -> Test:
        tests = [self._read_test()]
        while self._skip_sign("&&"):
            tests.append(self._read_test())
        return tests[0] if len(tests) == 1 else Both(tests, False)

    def _skip_sign(self, sign: str) -> bool:
        start = self._place
        self._skip_blanks()
        if self._skip(sign):
            self._skip_blanks()
            return True
        self._place = start
        return False

    def _read_test(self) -> Test:
        if self._skip("!"):
            self._skip_blanks()
            return Not(self._read_group() or self._as_test(self._read_part(), self._place))
        group = self._read_group()
        if group:
            return group
        start = self._place
        left = self._read_part()
        place = self._place
        self._skip_blanks()
        sign = self._match(_SIGN)
        if not sign:
            self._place = place
            return self._as_test(left, start)
        self._skip_blanks()
        behind = self._place
        right = self._as_operand(self._read_part(), behind)
        if sign[0] == "=~":
            return Matches(self._as_operand(left, start), right, True)
        return Compare(self._as_operand(left, start), sign[0], right)

    def _read_group(self) -> Test | None:
        if not self._skip("("):
            return None
        self._skip_blanks()
        test = self._read_any()
        self._skip_blanks()
        self._expect(")")
        return test

    def _as_test(self, part: Query | Operand | Test, place: int) -> Test:
        if isinstance(part, Query):
            return Exists(part)
        if isinstance(part, Matches):
            return part
        raise self._wrong("a comparison", place)

    def _as_operand(self, part: Query | Operand | Test, place: int) -> Operand:
        if isinstance(part, Matches) or (isinstance(part, Query) and not part.is_singular):
            raise self._wrong("a single value", place)
        return part  # type: ignore[return-value]

    def _read_part(self) -> Query | Operand | Test:
        """Read a query, a literal or a call of a function."""
        if self._text[self._place : self._place + 1] in ("@", "$"):
            return self._read_query()
        string = self._read_string()
        if string is not None:
            return Literal(string)
        word = self._match(_WORD)
        if word:
            return Literal(_WORDS[word[0]])
        number = self._match(_NUMBER)
        if number:
            return Literal(float(number[0]) if number[1] or number[2] else self._integer(number[0]))
        function = self._match(_FUNCTION)
        if function:
            return self._read_call(function[1], function.start())
        raise self._wrong("a query, a literal or a function")

    def _integer(self, digits: str) -> int:
        try:
            return int(digits)
        except ValueError:
            raise self._wrong("a shorter integer") from None

    def _read_query(self) -> Query:
        is_relative = self._skip("@") or not self._skip("$")
        return Query(is_relative, self._read_segments())

    def _read_call(self, name: str, start: int) -> Operand | Test:
        """Read the arguments of a function, and the parenthesis behind them."""
        places: list[int] = []
        arguments: list[Query | Operand | Test] = []
        self._depth += 1
        if self._depth > _MOST_NESTING:
            raise self._wrong("functions that are not nested as deep")
        self._skip_blanks()
        while not self._skip(")"):
            if arguments:
                self._expect(",")
                self._skip_blanks()
            places.append(self._place)
            arguments.append(self._read_part())
            self._skip_blanks()
        self._depth -= 1
        match name, arguments:
            case "length", [argument]:
                return Length(self._as_operand(argument, places[0]))
            case "count", [Query() as query]:
                return Count(query)
            case "value", [Query() as query]:
                return ValueOf(query)
            case "match" | "search", [text, pattern]:
                text, pattern = self._as_operand(text, places[0]), self._as_operand(pattern, places[1])
                return Matches(text, pattern, name == "search")
        raise self._wrong("length(value), count(query), value(query), match(value, pattern) or search(value, pattern)", start)
