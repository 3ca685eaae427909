"""Function libraries: the head of a text, what the texts that are kept mean, and which functions there are.

The texts are the data (`data.libraries`): they are recorded and stand in frames, while the functions are made of them when
somebody asks, by a `run` of the text. So a start needs no interpreter, and neither does a replay.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from kvserver.data.libraries import Libraries
from kvserver.errors import CommandError, ProtocolError
from kvserver.resp.request import split_inline
from kvserver.scripting.scripts import Script

ENGINE: Final = b"LUA"
BAD_NAME: Final = (
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
)
NO_LIBRARY: Final = "ERR Library not found"
_NAME: Final = re.compile(rb"[A-Za-z0-9_]+")
# What a library takes besides its text, and a function: measured for short ones.
LIBRARY_BYTES: Final = 1000
FUNCTION_BYTES: Final = 600

_log = logging.getLogger("kvserver")


class Function(Script):
    """A function of a library. `flags` are in the order in which they were given."""

    __slots__ = ("description", "flags_in_order")

    def __init__(self, name: bytes, function: Any, description: bytes | None, flags: list[bytes]) -> None:
        super().__init__(name, b"", frozenset(flags), function, kind="FUNCTION")
        self.description = description
        self.flags_in_order = flags


class Head(NamedTuple):
    """The first line of a library's text, as in `#!lua name=mylib`, and the code behind it.

    `engine` is the word that stands there, which may be in capital letters. The code begins with the line's end, so that
    errors name the lines that the author sees.
    """

    engine: bytes
    name: bytes
    code: bytes


class Library(NamedTuple):
    """A library: its name, the word for the engine, the whole text, and its functions by their names."""

    name: bytes
    engine: bytes
    text: bytes
    functions: dict[bytes, Function]


# Registers a function: name, what Lua calls, description or False, flags with commas. Returns the text of an error or None.
Register = Callable[[bytes, Any, Any, bytes], bytes | None]
# Runs the code of a library, which registers its functions. CommandError if it fails.
Run = Callable[[bytes, Register], None]


def read_head(text: bytes) -> Head:
    """The head of a library's text. CommandError if it is none."""
    if not text.startswith(b"#!"):
        raise CommandError("ERR Missing library metadata")
    line, end, code = text.partition(b"\n")
    # Redis takes it for a text that ends at a NUL.
    if not end or b"\0" in line:
        raise CommandError("ERR Invalid library metadata")
    try:
        words = split_inline(line)
    except ProtocolError:
        raise CommandError("ERR Invalid library metadata") from None
    name: bytes | None = None
    for word in words[1:]:
        if word[:5].lower() != b"name=":
            raise CommandError(f"ERR Invalid metadata value given: {_shown(word)}")
        if name is not None:
            raise CommandError("ERR Invalid metadata value, name argument was given multiple times")
        name = word[5:]
    if name is None:
        raise CommandError("ERR Library name was not given")
    return Head(words[0][2:], name, end + code)


def _shown(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


class Functions:
    """The functions of a server. `texts` is what is kept of their libraries."""

    def __init__(self, texts: Libraries, run: Run) -> None:
        self._texts = texts
        self._run = run
        self._libraries: dict[bytes, Library] = {}
        self._functions: dict[bytes, Function] = {}
        # What the functions above are made of.
        self._generation = texts.generation - 1

    @property
    def libraries(self) -> dict[bytes, Library]:
        """The libraries by their names."""
        self._refresh()
        return self._libraries

    def find(self, name: bytes) -> Function | None:
        """The function of this name, in small or in capital letters, or None."""
        if self._generation != self._texts.generation:
            self._refresh()
        return self._functions.get(name) or self._functions.get(name.lower())

    @property
    def function_count(self) -> int:
        """The number of functions."""
        return sum(len(each.functions) for each in self.libraries.values())

    @property
    def size_bytes(self) -> int:
        """The memory that texts and functions take, without what Lua has of them."""
        return sum(LIBRARY_BYTES + len(each.text) + FUNCTION_BYTES * len(each.functions) for each in self.libraries.values())

    def load(self, text: bytes, *, replaces: bool) -> bytes:
        """Add a library, or let it take the place of the one of its name. Return the name. CommandError if that fails."""
        before = self.libraries
        library = self._make(text, before, replaces=replaces)
        others = [each for each in before.values() if each.name != library.name]
        _check_names(library, others)
        self._texts.put(library.name, text)
        self._set([*others, library])
        return library.name

    def delete(self, name: bytes) -> None:
        """Remove a library. CommandError if there is none of this name."""
        others = [each for each in self.libraries.values() if each.name != name]
        try:
            self._texts.remove(name)
        except KeyError:
            raise CommandError(NO_LIBRARY) from None
        self._set(others)

    def clear(self) -> None:
        """Remove all libraries."""
        self._texts.clear()
        self._set([])

    def restore(self, texts: Iterable[bytes], policy: str) -> None:
        """Add libraries: APPEND to the others, or REPLACE those of the same names, or FLUSH all others before.

        CommandError, with everything as it was, if one of them makes no library, or if names occur twice.
        """
        added: dict[bytes, Library] = {}
        for text in texts:
            library = self._make(text, added, replaces=False)
            _check_names(library, added.values())
            added[library.name] = library
        before = {} if policy == "FLUSH" else self.libraries
        others = [each for each in before.values() if each.name not in added]
        if policy == "APPEND" and len(others) < len(before):
            name = next(name for name in added if name in before)
            raise CommandError(f"ERR Library {_shown(name)} already exists")
        for library in added.values():
            _check_names(library, others)
        if policy == "FLUSH":
            self._texts.clear()
        for library in added.values():
            self._texts.put(library.name, library.text)
        self._set([*others, *added.values()])

    def _make(self, text: bytes, others: dict[bytes, Library], *, replaces: bool) -> Library:
        """The library of a text, which has been run. CommandError if it is none, or may not stand beside the others."""
        head = read_head(text)
        if not _NAME.fullmatch(head.name):
            raise CommandError(BAD_NAME)
        if head.engine.upper() != ENGINE:
            raise CommandError(f"ERR Engine '{_shown(head.engine)}' not found")
        if head.name in others and not replaces:
            raise CommandError(f"ERR Library '{_shown(head.name)}' already exists")
        functions: dict[bytes, Function] = {}

        def register(name: bytes, function: Any, description: Any, flags: bytes) -> bytes | None:
            if not _NAME.fullmatch(name):
                return BAD_NAME.removeprefix("ERR ").encode()
            if name in functions:
                return b"Function already exists in the library"
            # A flag that is given twice counts once.
            flags_in_order = list(dict.fromkeys(flags.split(b","))) if flags else []
            functions[name] = Function(name, function, description or None, flags_in_order)
            return None

        self._run(head.code, register)
        if not functions:
            raise CommandError("ERR No functions registered")
        return Library(head.name, head.engine, text, functions)

    def _set(self, libraries: Iterable[Library]) -> None:
        self._libraries = {each.name: each for each in libraries}
        self._functions = {}
        for each in self._libraries.values():
            for name, function in each.functions.items():
                self._functions.setdefault(name.lower(), function)
        self._generation = self._texts.generation

    def _refresh(self) -> None:
        """Make the functions of the texts anew, where others came in their places: by a frame, by a replay."""
        if self._generation == self._texts.generation:
            return
        found: list[Library] = []
        for name in self._texts:
            text, library = self._texts.get(name), self._libraries.get(name)
            assert text is not None
            if library is None or library.text != text:
                try:
                    library = self._make(text, {}, replaces=True)
                except CommandError as error:
                    _log.error("the library %s is kept, but can't be loaded: %s", _shown(name), error)
                    continue
            found.append(library)
        self._set(found)


def _check_names(library: Library, others: Iterable[Library]) -> None:
    """CommandError if a function of a library has the name of one of others."""
    taken = {name.lower() for each in others for name in each.functions}
    for name in library.functions:
        if name.lower() in taken:
            raise CommandError(f"ERR Function {_shown(name)} already exists")
