"""What JSON commands make of a document, said a second time: by Python's own types, a value at a time.

Nothing of kvserver is in it, so that it can't share a mistake with it. It knows the paths of `FINDS`, and no other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Location = tuple[Any, ...]


def members(value: Any) -> list[tuple[Any, Any]]:
    # Canonical JSON has members in the order of their names.
    return list(
        sorted(value.items(), key=lambda item: item[0])
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )


def below(value: Any, location: Location = ()) -> list[tuple[Location, Any]]:
    """A value and all within it, each before what is in it."""
    return [(location, value)] + [each for key, member in members(value) for each in below(member, (*location, key))]


def children(found: list[tuple[Location, Any]], takes: Callable[[Any, Any], bool]) -> list[tuple[Location, Any]]:
    return [((*place, key), member) for place, value in found for key, member in members(value) if takes(key, value)]


# Paths, and what they find in a document.
FINDS: dict[str, Callable[[Any], list[tuple[Location, Any]]]] = {
    "$": lambda root: [((), root)],
    "$.a": lambda root: children([((), root)], lambda key, value: key == "a"),
    "$[-1]": lambda root: children([((), root)], lambda key, value: key == len(value) - 1),
    "$.*": lambda root: children([((), root)], lambda key, value: True),
    "$..a": lambda root: children(below(root), lambda key, value: key == "a"),
    "$..[0]": lambda root: children(below(root), lambda key, value: key == 0 and isinstance(key, int)),
    "$..*": lambda root: children(below(root), lambda key, value: True),
    "$.a.b": lambda root: children(FINDS["$.a"](root), lambda key, value: key == "b"),
    "$.*[?@.a]": lambda root: [
        each for each in children(FINDS["$.*"](root), lambda key, value: True) if isinstance(each[1], dict) and "a" in each[1]
    ],
}
FINDS |= {path[1:] or ".": finds for path, finds in FINDS.items()}


def at(root: Any, location: Location) -> Any:
    for key in location:
        root = root[key]
    return root


def put(root: Any, location: Location, value: Any) -> Any:
    """The document with another value at a location."""
    if not location:
        return value
    at(root, location[:-1])[location[-1]] = value
    return root


def topmost(places: list[Location]) -> list[Location]:
    return [each for each in places if not any(each[:length] in places for length in range(len(each)))]


def merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, member in patch.items():
        result[name] = merged(result.get(name), member)
        if member is None:
            del result[name]
    return result


def length(value: str) -> int:
    return len(value.encode())


class DocumentModel:
    """The document of one key. `call` gives the reply, where ERROR stands for an error, and changes it."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def call(self, name: str, path: str, *args: Any) -> Any:
        found = FINDS[path](self.root)
        places = [place for place, _ in found]
        if name in ("SET", "MERGE"):
            return self._set(name, path, places, args[0])
        if name == "DEL":
            if not all(places):
                self.root = None
                return 1
            doomed = topmost(places)
            for place in sorted(doomed, reverse=True):
                del at(self.root, place[:-1])[place[-1]]
            return len(doomed)
        if name == "CLEAR":
            cleared = topmost([place for place, value in found if value and type(value) in (int, float, list, dict)])
            for place in cleared:
                self.root = put(
                    self.root, place, type(at(self.root, place))() if type(at(self.root, place)) is not float else 0
                )
            return len(cleared)
        return self._each(name, path.startswith("$"), places, args)

    def _set(self, name: str, path: str, places: list[Location], value: Any) -> Any:
        if places:
            for place in topmost(places):
                new = copy.deepcopy(value)
                self.root = put(self.root, place, merged(at(self.root, place), new) if name == "MERGE" else new)
            return "OK"
        if path.lstrip("$") == "[-1]" or "*" in path or ".." in path:
            return ERROR
        names = path.lstrip("$.").split(".")
        try:
            container = at(self.root, tuple(names[:-1]))
        except (LookupError, TypeError):
            return None
        if not isinstance(container, dict):
            return None
        container[names[-1]] = value
        return "OK"

    def _each(self, name: str, is_new: bool, places: list[Location], args: tuple[Any, ...]) -> Any:
        kinds, change = EACH[name]
        right = [place for place in places if type(at(self.root, place)) in kinds]
        replies = {}
        before = copy.deepcopy(self.root)
        for place in sorted(right, reverse=True):
            try:
                new, replies[place] = change(at(self.root, place), *copy.deepcopy(args))
            except ArithmeticError:
                self.root = before
                return ERROR
            self.root = put(self.root, place, new)
        if is_new:
            return [replies.get(place) for place in places]
        return replies[right[-1]] if right else ERROR


ERROR = "an error"


def insert(value: list[Any], index: int, *items: Any) -> tuple[Any, Any]:
    place = index + len(value) if index < 0 else index
    if not 0 <= place <= len(value):
        raise ArithmeticError
    return value[:place] + list(items) + value[place:], len(value) + len(items)


def pop(value: list[Any], index: int) -> tuple[Any, Any]:
    if not value:
        return value, None
    place = max(0, len(value) + index) if index < 0 else min(index, len(value) - 1)
    return value[:place] + value[place + 1 :], Text(value[place])


def trim(value: list[Any], start: int, stop: int) -> tuple[Any, Any]:
    first = max(0, len(value) + start) if start < 0 else start
    last = max(0, len(value) + stop) if stop < 0 else stop
    return value[first : last + 1], len(value[first : last + 1])


def number(value: float) -> tuple[Any, Any]:
    if value in (float("inf"), float("-inf")):
        raise ArithmeticError
    return value, value


class Text:
    """A reply that is the JSON of a value."""

    def __init__(self, value: Any) -> None:
        self.value = value


EACH: dict[str, tuple[tuple[type, ...], Callable[..., tuple[Any, Any]]]] = {
    "NUMINCRBY": ((int, float), lambda value, by: number(value + by)),
    "NUMMULTBY": ((int, float), lambda value, by: number(value * by)),
    "TOGGLE": ((bool,), lambda value: (not value, not value)),
    "STRAPPEND": ((str,), lambda value, more: (value + more, length(value + more))),
    "ARRAPPEND": ((list,), lambda value, *items: insert(value, len(value), *items)),
    "ARRINSERT": ((list,), insert),
    "ARRPOP": ((list,), pop),
    "ARRTRIM": ((list,), trim),
}
