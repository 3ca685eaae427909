"""The conditions of filters in paths, as RFC 9535 has them, and RedisJSON's `=~`. Pure.

Tests hold or don't. Operands are values, or NOTHING where a query finds none. Either has a `quick` function of the present
value (`@`) and the root (`$`), where that takes a short time whatever the document is, and is asked in `steps` else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from kvserver.data.steps import Steps
from kvserver.formats.codec import JSON
from kvserver.types.json.regexp import pattern
from kvserver.types.json.segments import CHUNK, InChunks, Search, Segment, Test, follow
from kvserver.types.json.work import Work

# What a query of no value gives. It equals itself.
NOTHING: Final[Any] = type("Nothing", (), {"__repr__": lambda self: "NOTHING"})()
_CONTAINERS: Final = (dict, list)
_PAUSE: Final[tuple[list[Any], ...]] = ([],)

Quick = Callable[[JSON, JSON], JSON]


class Operand(Protocol):
    """A value in a condition. `is_scalar`: it is surely no container, so that it is quickly compared."""

    is_scalar: bool

    @property
    def quick(self) -> Quick | None: ...

    def steps(self, value: JSON, search: Search) -> InChunks[JSON]: ...


def _asked(operand: Operand, value: JSON, search: Search) -> InChunks[JSON]:
    if operand.quick:
        return operand.quick(value, search.root)
    return (yield from operand.steps(value, search))


def _holds(test: Test, value: JSON, search: Search) -> InChunks[bool]:
    if test.quick:
        return test.quick(value, search.root)
    return (yield from test.steps(value, search))


# Operands


class Literal:
    """A number, a string, `true`, `false` or `null`."""

    is_scalar = True

    def __init__(self, value: JSON) -> None:
        self.quick: Quick = lambda present, root: value

    def steps(self, value: JSON, search: Search) -> InChunks[JSON]:
        return (yield from _asked(self, value, search))


class Query:
    """`@.name` or `$.name`: nodes, for functions of nodes; the value of the only one, if there is never more than one."""

    is_scalar = False

    def __init__(self, is_relative: bool, segments: tuple[Segment, ...]) -> None:
        self.is_relative = is_relative
        self.segments = segments
        keys = tuple(segment.key for segment in segments)
        self.is_singular = None not in keys
        self.quick: Quick | None = None
        if self.is_singular:
            self.quick = (lambda value, root: walk(value, keys)) if is_relative else (lambda value, root: walk(root, keys))

    def steps(self, value: JSON, search: Search) -> InChunks[JSON]:
        """The value of the only node; NOTHING if there is none, or more than one."""
        found = []
        for chunk in follow(self.segments, value if self.is_relative else search.root, search):
            found += chunk
            if len(found) > 1:
                return NOTHING
            yield from _PAUSE
        return found[0][0] if found else NOTHING

    def count(self, value: JSON, search: Search) -> InChunks[int]:
        """The number of nodes."""
        number = 0
        for chunk in follow(self.segments, value if self.is_relative else search.root, search):
            number += len(chunk)
            yield from _PAUSE
        return number


def walk(value: JSON, keys: tuple[str | int | None, ...]) -> JSON:
    """The value to which keys lead from another one; NOTHING if there is none."""
    try:
        for key in keys:
            # Of all values that are no containers, this is the only one that would give something.
            if type(value) is str:
                return NOTHING
            value = value[key]
    except (LookupError, TypeError):
        return NOTHING
    return value


class Length:
    """`length(…)`: the characters of a string, or the members of a container."""

    is_scalar = True

    def __init__(self, argument: Operand) -> None:
        self._argument = argument
        quick = argument.quick
        self.quick: Quick | None = quick and (lambda value, root: _length(quick(value, root)))

    def steps(self, value: JSON, search: Search) -> InChunks[JSON]:
        return _length((yield from _asked(self._argument, value, search)))


def _length(value: JSON) -> JSON:
    return len(value) if type(value) in (str, *_CONTAINERS) else NOTHING


class Count:
    """`count(…)`: the number of nodes."""

    is_scalar = True
    quick = None

    def __init__(self, query: Query) -> None:
        self._query = query

    def steps(self, value: JSON, search: Search) -> InChunks[JSON]:
        return (yield from self._query.count(value, search))


class ValueOf:
    """`value(…)`: the value of the only node."""

    is_scalar = False
    quick = None

    def __init__(self, query: Query) -> None:
        self.steps = query.steps


# Tests


class Exists:
    """A query alone: it finds something."""

    def __init__(self, query: Query) -> None:
        self._query = query
        quick = query.quick
        self.quick: Callable[[JSON, JSON], bool] | None = quick and (lambda value, root: quick(value, root) is not NOTHING)

    def steps(self, value: JSON, search: Search) -> InChunks[bool]:
        for chunk in follow(self._query.segments, value if self._query.is_relative else search.root, search):
            if chunk:
                return True
            yield from _PAUSE
        return False


class Compare:
    """`==` and its kin."""

    def __init__(self, left: Operand, sign: str, right: Operand) -> None:
        self._left = left
        self._right = right
        self._sign = sign
        self.quick: Callable[[JSON, JSON], bool] | None = None
        if left.quick and right.quick and (left.is_scalar or right.is_scalar):
            compare, of_left, of_right = _QUICK[sign], left.quick, right.quick
            self.quick = lambda value, root: compare(of_left(value, root), of_right(value, root))

    def steps(self, value: JSON, search: Search) -> InChunks[bool]:
        left = yield from _asked(self._left, value, search)
        right = yield from _asked(self._right, value, search)
        if type(left) not in _CONTAINERS or type(left) is not type(right):
            return _QUICK[self._sign](left, right)
        if self._sign in ("<", ">"):
            return False
        return (yield from equal(left, right, search.work)) is not (self._sign == "!=")


def _same(left: JSON, right: JSON) -> bool:
    """True if values are equal of which one at least is no container. For Python True is 1, for JSON it is not."""
    if type(left) is bool or type(right) is bool:
        return left is right
    return type(left) not in _CONTAINERS and bool(left == right)


_NUMBERS: Final = (int, float)


def _less(left: JSON, right: JSON) -> bool:
    both = type(left), type(right)
    if (both[0] in _NUMBERS and both[1] in _NUMBERS) or both == (str, str):
        return bool(left < right)
    return False


_QUICK: Final[dict[str, Callable[[JSON, JSON], bool]]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": _less,
    ">": lambda left, right: _less(right, left),
    "<=": lambda left, right: _less(left, right) or _same(left, right),
    ">=": lambda left, right: _less(right, left) or _same(left, right),
}


def _same_typed(left: JSON, right: JSON) -> bool:
    """True if values are equal, and of the same type, of which one at least is no container."""
    return type(left) is type(right) and type(left) not in _CONTAINERS and bool(left == right)


def is_same(left: JSON, right: JSON, work: Work) -> Steps[bool]:
    """Return True if two values are the same, as JSON.ARRINDEX has it: 1 and 1.0 are not."""
    if type(left) not in _CONTAINERS or type(left) is not type(right):
        return _same_typed(left, right)
    comparison = equal(left, right, work, _same_typed)
    while True:
        try:
            next(comparison)
        except StopIteration as stop:
            return bool(stop.value)
        if work.is_due():
            yield


def equal(left: JSON, right: JSON, work: Work, same: Callable[[JSON, JSON], bool] = _same) -> InChunks[bool]:
    """Return True if two values are the same JSON: `1` and `1.0` are, `1` and `true` are not.

    `same` compares values of which one at least is no container.
    """
    waiting = [(left, right)]
    looks = 0
    while waiting:
        left, right = waiting.pop()
        if type(left) not in _CONTAINERS:
            if not same(left, right):
                return False
            continue
        if type(left) is not type(right) or len(left) != len(right):
            return False
        if type(left) is dict and left.keys() != right.keys():
            return False
        names = iter(left) if type(left) is dict else iter(range(len(left)))
        for name in names:
            first, second = left[name], right[name]
            if type(first) in _CONTAINERS:
                waiting.append((first, second))
            elif not same(first, second):
                return False
            looks += 1
            if looks % CHUNK == 0:
                work.spend(CHUNK)
                yield from _PAUSE
    return True


class Matches:
    """`match(…)`, `search(…)` and `=~`: a string matches a pattern, as a whole or in part."""

    quick = None

    def __init__(self, text: Operand, pattern: Operand, is_search: bool) -> None:
        self._text = text
        self._pattern = pattern
        self._is_search = is_search

    def steps(self, value: JSON, search: Search) -> InChunks[bool]:
        text = yield from _asked(self._text, value, search)
        wanted = yield from _asked(self._pattern, value, search)
        if type(text) is not str or type(wanted) is not str:
            return False
        found = pattern(wanted, self._is_search)
        return found is not None and (yield from found.matches(text, search.work))


class Not:
    """`!`: the test does not hold."""

    def __init__(self, test: Test) -> None:
        self._test = test
        quick = test.quick
        self.quick: Callable[[JSON, JSON], bool] | None = quick and (lambda value, root: not quick(value, root))

    def steps(self, value: JSON, search: Search) -> InChunks[bool]:
        return not (yield from _holds(self._test, value, search))


class Both:
    """`&&`: all of the tests hold; `||`, if `is_any`: one of them holds."""

    def __init__(self, tests: list[Test], is_any: bool) -> None:
        self._tests = tests
        self._is_any = is_any
        self.quick: Callable[[JSON, JSON], bool] | None = None
        quick = [test.quick for test in tests if test.quick]
        if len(quick) == len(tests):
            decide = any if is_any else all
            self.quick = lambda value, root: decide(each(value, root) for each in quick)

    def steps(self, value: JSON, search: Search) -> InChunks[bool]:
        for test in self._tests:
            if (yield from _holds(test, value, search)) is self._is_any:
                return self._is_any
        return not self._is_any
