"""Random JSON commands, each with the documents that it meets. No socket is known here.

What RedisJSON 2.8 does in ways of its own is not drawn. It ends if a value is replaced within one that is replaced, or if an
array changes within one that changes. It changes no members of an object that a filter finds, and filters scalars behind what
finds several values. A JSON.MSET with one key twice looks for all its paths in the document as it was before. If it deletes
several members of an object, one of which has an empty name, the others stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from helpers.random_commands import Words

# Two keys have documents, one has a list, and one is missing.
DOCUMENTS: Final = (b"a", b"b")
LIST: Final = b"list"
MISSING: Final = b"none"
KEYS: Final = (*DOCUMENTS, LIST, MISSING)
# The index in a path that stands before the first member of any array.
BEFORE_FIRST: Final = -9
LARGE: Final = 9223372036854775807

_NAMES: Final = ("a", "b", "c", "d", "long name", "x-y", "é")
_USUAL_NAMES: Final = _NAMES[:4]
_SCALARS: Final = (
    *(0, 1, 2, 3, -1, 7, 12345678901, 1.5, -0.25, 2.0, -0.0, 1e16, 1e-7, LARGE),
    *(True, True, False, False, None, "", "foo", "foo", "bar", "é", '"\\\n', "1"),
)
# A document with one of these is held in another way than a short one, or is written, or parsed, in steps.
_LONG: Final = ("x" * 3000, [*range(5000)], ["y" * 10] * 7000)
# None compares what is missing, or begins with a literal: that RedisJSON 2.8 does otherwise than RFC 9535.
_FILTERS: Final = (
    *("@.a", "@.a>1", "@.a==1", "@>=1", "@<2", '@=="foo"', "@==true", "@==null", '@.c=="foo"', '@=~"fo+"', "@[0]>0"),
    *("@.a&&@.b", "@.a||@.b", "@.a>0&&(@.b<3||@.c)", "@.a>0 || @.b<3 && @.c"),
)
_BAD_PATHS: Final = (
    *(
        b"",
        b"$[",
        b"$.",
        b"..",
        b"$$",
        b"$.a[",
        b"a[",
        b"$[a]",
        b"$[?]",
        b"$..",
        b"$.a b",
        b".a.",
        b"$[']",
        b"]",
        b"$[0",
        b"\xff",
    ),
)
_BAD_JSON: Final = (
    "",
    "{",
    "[1,]",
    "nope",
    '"a',
    "01",
    "'a'",
    "{1:2}",
    "NaN",
    "\x01",
    '{"a":1,}',
    "+1",
    ".5",
    "tru",
    "[",
    "1 2",
)
_NO_NUMBERS: Final = (b"x", b"", b'"1"', b"null", b"[1]", b"{", b"1e400", b"inf", b"nan", b"+1")
_NO_INDEXES: Final = (b"x", b"1.5", b"", b"9223372036854775808")
_ARGUMENT_INDEXES: Final = (0, 0, 1, 1, 2, -1, -1, -2, 3, -3, 5, -9, 99)
_LAYOUT: Final = {b"INDENT", b"NEWLINE", b"newline", b"SPACE"}
# A word that is put in a wrong place.
_ODD_WORDS: Final = (b"", b"x", b"$", b"-1", b"NX", b"{}")


class Case(NamedTuple):
    """A command, and the JSON of the documents under the keys that have one.

    The members of objects are in the order of their names, so that a server that keeps another order finds the same values in
    the same order.
    """

    documents: Mapping[bytes, bytes]
    words: Words


def random_case(rng: Random) -> Case:
    values = {key: random_value(rng, 3) for key in DOCUMENTS}
    if rng.random() < 0.05:
        values[DOCUMENTS[0]] = {**{name: random_value(rng, 2) for name in _USUAL_NAMES}, "long": rng.choice(_LONG)}
    key = rng.choice(DOCUMENTS if rng.random() < 0.85 else KEYS)
    words = rng.choice(_MAKERS)(_Drawing(rng, key, values))
    return Case({key: text_of(value) for key, value in values.items()}, _spoiled(rng, words) if rng.random() < 0.06 else words)


def text_of(value: Any) -> bytes:
    """The canonical JSON of a value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def random_value(rng: Random, depth: int) -> Any:
    """A value with so many containers in each other at most."""
    kind = rng.random()
    if depth and kind < 0.45:
        names = rng.sample(_USUAL_NAMES, rng.randint(0, 4)) if rng.random() < 0.8 else rng.sample(_NAMES, rng.randint(1, 5))
        return {name: random_value(rng, depth - 1) for name in sorted(names)}
    if depth and kind < 0.8:
        return [random_value(rng, depth - 1) for _ in range(rng.randint(0, 5))]
    return rng.choice(_SCALARS)


def _spoiled(rng: Random, words: Words) -> Words:
    """The command with its end lost, or with a word brought in or replaced."""
    kind, position = rng.random(), rng.randint(1, len(words))
    # In a layout, a word may be what JSON can't be read with.
    if kind < 0.4 or _LAYOUT.intersection(words):
        return words[:position]
    return (*words[:position], rng.choice(_ODD_WORDS), *words[position if kind < 0.7 else position + 1 :])


class _Drawing:
    """Draws the words of a command about a key."""

    def __init__(self, rng: Random, key: bytes, values: Mapping[bytes, Any]) -> None:
        self.rng = rng
        self.key = key
        self._values = values

    def chance(self, of: float) -> bool:
        return self.rng.random() < of

    # Paths

    def path(self, *, for_change: bool = False, may_nest: bool = True) -> bytes:
        """A path, most of them to something that is there. Every other one is of the older form.

        One for a change filters no members of an object, and finds nothing twice. If it may not nest, nothing that it finds is
        within another value that it finds.
        """
        kind = self.rng.random()
        if kind < 0.03:
            return self.rng.choice(_BAD_PATHS)
        is_legacy = self.chance(0.5)
        if kind < 0.12:
            return b"." if is_legacy else b"$"
        steps = self._steps(self._values.get(self.key, self._values[DOCUMENTS[0]]), has_filters=not for_change)
        if for_change:
            # Behind `..`, another one finds some values again.
            descents = [place for place, step in enumerate(steps) if step.startswith("..")]
            for place in descents[may_nest:]:
                steps[place] = steps[place].removeprefix("..") if "[" in steps[place] else steps[place][1:]
        text = "".join(steps)
        if not is_legacy:
            return f"${text}".encode()
        has_dot = text.startswith(".") and not text.startswith("..")
        return (text[1:] if has_dot and self.chance(0.5) else text).encode() or b"."

    def _steps(self, value: Any, *, has_filters: bool) -> list[str]:
        steps: list[str] = []
        is_definite = True
        while isinstance(value, dict | list) and (not steps or self.chance(0.55)):
            may_filter = is_definite and (has_filters or isinstance(value, list))
            step, value, is_one = self._step(value, is_definite=is_definite, may_filter=may_filter)
            steps.append(step)
            is_definite = is_definite and is_one
        return [*steps, self._missing_step()] if self.chance(0.1) else steps

    def _step(self, value: dict[str, Any] | list[Any], *, is_definite: bool, may_filter: bool) -> tuple[str, Any, bool]:
        """A part of a path, a value that it finds or None, and True if it finds no other one."""
        rng = self.rng
        children = list(value.values()) if isinstance(value, dict) else value
        child = rng.choice(children) if children else None
        kind = rng.random()
        if kind < 0.06:
            return rng.choice((".*", "[*]")), child, False
        if kind < 0.12:
            return f"..{rng.choice(_USUAL_NAMES)}", None, False
        if kind < 0.14:
            return rng.choice(("..*", "..[0]", "..[*]", "..[-1]")), child, False
        if kind < 0.2 and may_filter:
            return rng.choice(("[?({})]", "[?{}]")).format(rng.choice(_FILTERS)), child, False
        if kind < 0.26:
            return self._several(value), child, False
        if kind < 0.3 or not value:
            return self._missing_step(), None, True
        if isinstance(value, dict):
            name = rng.choice(list(value))
            return self._name(name), value[name], True
        # Behind a part that finds several, an array may have fewer members than this one.
        index = rng.randrange(-len(value) if is_definite else -1, len(value))
        return f"[{index}]", value[index], True

    def _several(self, value: dict[str, Any] | list[Any]) -> str:
        """A part that finds several members, none of them twice."""
        rng = self.rng
        if isinstance(value, dict):
            return "[" + ",".join(f'"{name}"' for name in rng.sample(_USUAL_NAMES, rng.randint(1, 3))) + "]"
        if self.chance(0.3):
            return "[" + ",".join(map(str, rng.sample((0, 1, 2, 5), rng.randint(1, 3)))) + "]"
        first, last = ("" if self.chance(0.3) else str(rng.choice(_ARGUMENT_INDEXES)) for _ in range(2))
        return f"[{first}:{last}{rng.choice(('', '', ':', ':1', ':2'))}]"

    def _missing_step(self) -> str:
        """A part that finds nothing, as a rule."""
        if self.chance(0.5):
            return f"[{self.rng.choice((0, 1, -1, 5, 99, BEFORE_FIRST))}]"
        return self._name(self.rng.choice(_NAMES))

    def _name(self, name: str) -> str:
        if name.isascii() and " " not in name and self.chance(0.8):
            return f".{name}"
        return self.rng.choice((f'["{name}"]', f"['{name}']"))

    # Other words

    def json(self, depth: int = 1) -> bytes:
        """A text that is JSON, but for some; some have space that is not needed."""
        kind = self.rng.random()
        if kind < 0.04:
            return self.rng.choice(_BAD_JSON).encode()
        value = random_value(self.rng, depth)
        if kind < 0.1:
            return json.dumps(value, indent=1, ensure_ascii=self.chance(0.5), sort_keys=True).encode()
        return text_of(value)

    def index(self) -> bytes:
        return self.rng.choice(_NO_INDEXES) if self.chance(0.03) else b"%d" % self.rng.choice(_ARGUMENT_INDEXES)

    def number(self) -> bytes:
        if self.chance(0.06):
            return self.rng.choice(_NO_NUMBERS)
        return self.rng.choice((b"0", b"1", b"2", b"-3", b"0.5", b"-1.25", b"2.0", b"1e2", b"100", b"10"))

    def several_json(self) -> Words:
        return tuple(self.json() for _ in range(self.rng.choice((1, 1, 2))))

    def or_none(self, word: bytes, of: float = 0.9) -> Words:
        return (word,) if self.chance(of) else ()


# Commands


def _set(draw: _Drawing) -> Words:
    condition = draw.or_none(draw.rng.choice((b"NX", b"XX", b"nx", b"xx")), 0.4)
    return (b"JSON.SET", draw.key, draw.path(for_change=True, may_nest=False), draw.json(2), *condition)


def _merge(draw: _Drawing) -> Words:
    return (b"JSON.MERGE", draw.key, draw.path(for_change=True, may_nest=False), draw.json(2))


def _mset(draw: _Drawing) -> Words:
    words: Words = (b"JSON.MSET",)
    for key in draw.rng.sample(KEYS, draw.rng.choice((1, 2, 2, 3))):
        draw.key = key
        words = (*words, key, draw.path(for_change=True, may_nest=False), draw.json())
    return words


def _get(draw: _Drawing) -> Words:
    words: Words = (b"JSON.GET", draw.key)
    for option, text in ((b"INDENT", b"  "), (b"NEWLINE", b"\n"), (b"SPACE", b" "), (b"newline", b"\r\n")):
        words += (option, text) if draw.chance(0.1) else ()
    paths = [draw.path() for _ in range(draw.rng.choice((0, 1, 1, 1, 1, 2, 2, 3)))]
    return (*words, *draw.or_none(b"NOESCAPE", 0.05), *paths)


def _mget(draw: _Drawing) -> Words:
    path = draw.path()
    # A path to what is in one document may be one of those that are not drawn for the other.
    keys = KEYS if re.fullmatch(rb"[$\w.]*", path) else (draw.key, LIST, MISSING)
    return (b"JSON.MGET", *draw.rng.choices(keys, k=draw.rng.randint(1, 3)), path)


def _array_index(draw: _Drawing) -> Words:
    wanted = text_of(random_value(draw.rng, draw.rng.choice((0, 0, 0, 1)))) if draw.chance(0.95) else draw.json()
    bounds = [draw.index() for _ in range(draw.rng.choice((0, 0, 1, 2)))]
    return (b"JSON.ARRINDEX", draw.key, draw.path(), wanted, *bounds)


def _array_insert(draw: _Drawing) -> Words:
    return (b"JSON.ARRINSERT", draw.key, draw.path(for_change=True, may_nest=False), draw.index(), *draw.several_json())


def _array_pop(draw: _Drawing) -> Words:
    arguments = (draw.path(for_change=True, may_nest=False), *draw.or_none(draw.index(), 0.6)) if draw.chance(0.9) else ()
    return (b"JSON.ARRPOP", draw.key, *arguments)


def _array_trim(draw: _Drawing) -> Words:
    return (b"JSON.ARRTRIM", draw.key, draw.path(for_change=True, may_nest=False), draw.index(), draw.index())


def _string_append(draw: _Drawing) -> Words:
    text = text_of(draw.rng.choice(("", "foo", "é", '"', "\n"))) if draw.chance(0.9) else draw.json()
    return (b"JSON.STRAPPEND", draw.key, *draw.or_none(draw.path(for_change=True)), text)


def _reading(name: bytes) -> Callable[[_Drawing], Words]:
    """What makes a command that reads what is at a path, which may be missing."""
    return lambda draw: (*name.split(), draw.key, *draw.or_none(draw.path()))


def _removing(name: bytes) -> Callable[[_Drawing], Words]:
    return lambda draw: (name, draw.key, *draw.or_none(draw.path(for_change=True)))


def _changing(name: bytes, others: Callable[[_Drawing], Words]) -> Callable[[_Drawing], Words]:
    """What makes a command that changes each value at a path."""
    return lambda draw: (name, draw.key, draw.path(for_change=True), *others(draw))


_MAKERS: Final[tuple[Callable[[_Drawing], Words], ...]] = (
    *(_set, _set, _merge, _mset, _get, _get, _mget),
    *(_array_index, _array_insert, _array_pop, _array_trim, _string_append),
    *map(_reading, (b"JSON.TYPE", b"JSON.RESP", b"JSON.DEBUG MEMORY", b"JSON.OBJKEYS")),
    *map(_reading, (b"JSON.ARRLEN", b"JSON.STRLEN", b"JSON.OBJLEN")),
    *map(_removing, (b"JSON.DEL", b"JSON.FORGET", b"JSON.CLEAR")),
    _changing(b"JSON.TOGGLE", lambda draw: ()),
    _changing(b"JSON.ARRAPPEND", _Drawing.several_json),
    _changing(b"JSON.NUMINCRBY", lambda draw: (draw.number(),)),
    _changing(b"JSON.NUMMULTBY", lambda draw: (draw.number(),)),
)
