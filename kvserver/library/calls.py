"""The keys of calls, for memoize: a function's name and its arguments as canonical JSON, one key for all ways to say a call.

`f(1)`, `f(a=1)` and, where 1 is the default of `a`, `f()` have one key: `app.f:{"a":1}`; a function within another that uses
the variable `n` of that one has `app.g.<locals>.f{"n":2}:{"a":1}`. Pure; knows of no cache.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from math import isfinite
from types import CellType
from typing import Any, Generic, ParamSpec

import orjson

from kvserver.formats.codec import canonical_strict, canonical_string

P = ParamSpec("P")

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_SCALARS = frozenset((str, int, float, bool, type(None)))


class CallKeys(Generic[P]):
    """The keys of the calls of a function. `name` stands before the arguments: module and qualified name of the function.

    `key` is a function of the same arguments that gives what stands for them: JSON. `suffix` tells functions of one name
    apart. `name` stands in the place of module and name. ValueError for a lambda or a partial function without one.

    Of the variables of an enclosing function that this one uses, those that are str, int, float, bool or None at the call are
    part of the key, but for those that it assigns to itself, such as a counter.
    """

    def __init__(
        self,
        function: Callable[P, object],
        key: Callable[P, Any] | None = None,
        suffix: str = "",
        name: str | None = None,
    ) -> None:
        if name is None:
            qualified: str | None = getattr(function, "__qualname__", None)
            if qualified is None or qualified.endswith("<lambda>"):
                raise ValueError(f"{function!r} has no name to be kept under: write a function with `def`, or give `name=`")
            name = f"{function.__module__}.{qualified}"
        elif not isinstance(name, str) or not name:
            raise ValueError(f"name must be a str that is not empty, not {name!r}")
        self.name = f"{name}{suffix}"
        self._cells = _cells_of(function)
        self._key = key
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters.values()
        self._names = [each.name for each in parameters]
        self._positional = [each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        self._defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
        # What stands before each argument in the JSON of all, in canonical order.
        self._labels = [(name, f"{canonical_string(name).decode()}:") for name in sorted(self._names)]
        # Measured: `Signature.bind` takes some five times as long as to put plain arguments together.
        self._is_plain = all(each.kind in _PLAIN for each in parameters)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call. TypeError if the function takes no such arguments, or if they are no JSON."""
        key = self._key
        # What these raise is the caller's.
        arguments = self._arguments(args, kwargs) if key is None else {}
        stands_for = None if key is None else key(*args, **kwargs)
        try:
            name = f"{self.name}{self._enclosing()}" if self._cells else self.name
            if key is not None:
                return f"{name}:{_text(stands_for)}"
            members = [f"{label}{_text(arguments[each])}" for each, label in self._labels]
            return f"{name}:{{{','.join(members)}}}"
        except (TypeError, ValueError) as error:
            what = "its arguments are no JSON" if self._key is None else "what `key=` gives is no JSON"
            advice = "give memoize a `key=`, a function of the same arguments that gives JSON which stands for them"
            raise TypeError(f"{self.name} can't be memoized for this call, since {what} ({error}): {advice}") from error

    def _enclosing(self) -> str:
        """The JSON of the variables of enclosing functions that are part of the key, or nothing if there is none."""
        found: dict[str, Any] = {}
        for name, cell in self._cells:
            try:
                value = cell.cell_contents
            except ValueError:
                # It has no value yet.
                continue
            if type(value) in _SCALARS and (type(value) is not float or isfinite(value)):
                found[name] = value
        return _text(found) if found else ""

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, with the defaults."""
        if self._is_plain and len(args) <= len(self._positional):
            arguments = dict(zip(self._positional, args, strict=False))
            if not (arguments.keys() & kwargs.keys()):
                arguments = {**self._defaults, **kwargs, **arguments}
                if len(arguments) == len(self._names) and all(name in arguments for name in self._names):
                    return arguments
        # All else, and what is wrong about the arguments.
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


def _cells_of(function: Any) -> list[tuple[str, CellType]]:
    """The variables of enclosing functions that a function uses, but does not assign to, by their names."""
    cells, code = getattr(function, "__closure__", None), getattr(function, "__code__", None)
    if not cells or not code:
        return []
    own = {each.argval for each in dis.get_instructions(code) if each.opname in ("STORE_DEREF", "DELETE_DEREF")}
    return [(name, cell) for name, cell in zip(code.co_freevars, cells, strict=True) if name not in own]


def _text(value: object) -> str:
    """The canonical JSON of a value. TypeError or ValueError if it is no JSON."""
    kind = type(value)
    # Measured: most arguments are of these types, for which Python's JSON takes 2 µs to begin with.
    if kind is str:
        return orjson.dumps(value).decode()
    if kind is int:
        return str(value)
    return canonical_strict(value).decode()
