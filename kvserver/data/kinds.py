"""Kinds: the questions that every data type must answer, and the registry that finds the kind of a value.

A data type is a folder of `kvserver.types`; its `value.py` has its kind, and `kvserver.types` lists all kinds. Data, formats
and commands that are about no type (TYPE, OBJECT, DUMP, COPY, SCAN) ask the kind of the value that they meet, and never look
at the value themselves. Two exceptions were measured: plain `bytes`, a string in most stores, and values of a payload for
which JSON itself has a form. Pure; names no data type.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from kvserver.data.entries import Entry, Value
from kvserver.data.steps import Steps

# The tag of JSON that stands for itself. It is written only where something else has to be said, too.
VALUE: Final = "value"
# A step removes so many members of one value since their time has come.
LAPSES_A_STEP: Final = 32


class LongReader(Protocol):
    """Reads one long value of a payload, which comes in chunks, in short steps.

    `has_ended`: all of the value's JSON has been read. `read` may raise PayloadInvalid for what is no JSON.
    """

    has_ended: bool

    def read(self, data: bytes, position: int) -> int | None:
        """Read a piece that begins at the position. Return the position of the next piece, or None if this is no tag.

        The same position means that more data is needed.
        """

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        """Return the entry and the position of its end, by what stands behind the value's JSON, or None if this is no tag."""

    def as_json(self) -> bytes:
        """JSON that means what was read so far."""


class Form(NamedTuple):
    """The way from JSON under a tag of a payload to a value.

    - `read` makes a value of the parsed JSON. It may give None, or any value, where `Kind.json` would not give this JSON under
      this tag.
    - `begin_long` makes a reader of a long value, of all that stood before its JSON and of the expiry (Unix milliseconds, or
      None) in there. It gives None if the value is to be read as a whole, however long it is.
    """

    read: Callable[[Any], Value | None]
    begin_long: Callable[[bytes, int | None], LongReader | None]


class Load(NamedTuple):
    """The way from the body of a payload of RESTORE to a value.

    - `shape` says what the body is made of, as `formats.rdb_shape` reads it, by which its end is found.
    - `value` makes a value of the body, in which no string may be longer than so many bytes. DumpInvalid if that is no value.
    - `steps` does the same for a body that may be long: a generator that yields at each step and returns the value. No step
      takes longer than some hundred microseconds. None if no body is long.
    - `packing` is how a small one is packed at once (`_speedups.rdb_packed`), to what `value` makes of it, or nothing.
    """

    shape: bytes
    value: Callable[[bytes, int], Value]
    steps: Callable[[bytes | bytearray, int], Steps[Value]] | None = None
    packing: bytes = b""


class Elements(NamedTuple):
    """What a collection is made of, for SORT.

    `has_order`: their order means something. `converted` is an equal value that Redis holds from then on, or None.
    """

    members: list[bytes]
    has_order: bool
    converted: Value | None = None


class Kind(Protocol):
    """A data type.

    - `name` is its name, as TYPE tells it.
    - `types` are the Python types of its values; types derived from them are none. The parameters `value`, which are Any
      below, are such values. Values that are changed in place have a method `fork`, which makes an equal one that is
      independent; all others are never changed, only replaced. Values whose members may expire have an attribute
      `earliest_ms`, the Unix time in milliseconds from which on the first of them is gone, or None if none expires, a
      length, and a method `living`, which gives what is left of them at such a time, to be read by `python` and `part`.
    - `mark` is the character with which its packed values begin, which are `str`, or "" if it packs none.
    - `forms` are the ways to read its values in a payload, by tag, but for VALUE.
    - `loads` are the ways to read payloads of RESTORE, by the first byte.
    """

    name: str
    types: tuple[type, ...]
    mark: str
    forms: Mapping[str, Form]
    loads: Mapping[int, Load]

    def encoding(self, value: Any) -> bytes:
        """The answer of OBJECT ENCODING."""

    def size_bytes(self, value: Any) -> int:
        """The memory, in bytes, that the value takes, estimated in constant time."""

    def recreation(self, key: bytes, value: Any, expires_at_ms: int | None) -> list[list[bytes]]:
        """The commands that store this value under the key, with its expiry (Unix milliseconds, or None)."""

    def json(self, value: Any) -> tuple[str, bytes]:
        """The form of the value in a payload: its tag, or VALUE if the JSON stands for itself, and canonical JSON.

        Equal values have the same form. JSON under VALUE is read as that of a string or of a document.
        """

    def json_steps(self, value: Any) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        """The form of a long value in steps: the generator yields b"" at each step, and returns the tag and the JSON's pieces.

        No step and no piece takes longer than some hundred microseconds. A piece that is empty is a step, too.
        """

    def lapse(self, key: bytes, value: Any, now_ms: int, most: int) -> list[bytes]:
        """Remove up to `most` members whose time has come from a value that may be changed: `earliest_ms` has passed.

        Return the command that repeats it for the value under this key, or [] if there were none. Its name is in lower case.
        """
        return []

    def dump(self, value: Any) -> bytes:
        """The payload of DUMP before its footer: a type, and the body. RESTORE may make a value of another kind of it."""

    def rdb(self, value: Any, *, has_modules: bool) -> Iterator[bytes]:
        """The type and the body of a value in an RDB file, in pieces: no step takes longer than some hundred microseconds.

        An empty piece is a step. The type stands in the first piece that is none, and may be another one than in `dump`.
        `has_modules`: who loads the file has the modules of Redis Stack, else whatever Redis itself can load is written.
        """
        yield self.dump(value)

    def digest(self, value: Any, digest: bytes) -> bytes:
        """The digest that becomes of this one when the value is mixed in, for DEBUG DIGEST: see `formats.digest`."""

    def layout(self, value: Any) -> str:
        """The text that DEBUG OBJECT adds for a value of this kind, with a space before it, or nothing."""
        return ""

    def python(self, value: Any) -> Any:
        """The value as a new Python object, as the library gives it. TypeError for a type that the library does not give."""
        raise TypeError(f"a {self.name} is nothing that the library gives")

    def elements(self, value: Any) -> Elements | None:
        """The elements that SORT brings into order, or None for a type that it refuses."""
        return None

    def part(self, value: Any, field: bytes | None) -> bytes | None:
        """What a pattern of SORT finds in the value, or None: the string itself, or a field, if it names one."""
        return None


_kinds: Final[dict[type, Kind]] = {}
_marks: Final[dict[str, Kind]] = {}
_forms: Final[dict[str, Form]] = {}
_loads: Final[dict[int, Load]] = {}


def register(kind: Kind) -> None:
    """Let a kind answer for its types, forms and dumps. ValueError if another kind does already for one of them."""
    taken = (
        {*kind.types} & _kinds.keys()
        or {*kind.mark} & _marks.keys()
        or kind.forms.keys() & _forms.keys()
        or kind.loads.keys() & _loads.keys()
    )
    if taken:
        raise ValueError(f"{kind.name}: another kind answers for {taken}")
    _kinds.update(dict.fromkeys(kind.types, kind))
    _marks.update(dict.fromkeys(kind.mark, kind))
    _forms.update(kind.forms)
    _loads.update(kind.loads)


def kind_of(value: Value) -> Kind:
    """The kind of a value. KeyError for an object of a type that no kind has."""
    return _marks[value[0]] if type(value) is str else _kinds[type(value)]


def is_changed_in_place(value: Value) -> bool:
    """True if commands may change this value, instead of replacing it."""
    return hasattr(value, "fork")


def fork(value: Value) -> Value:
    """An equal value that is independent of this one: the same object if it is never changed."""
    return value.fork() if hasattr(value, "fork") else value


def earliest_ms(value: Value) -> int | None:
    """The Unix time in milliseconds from which on the first member of a value is gone, or None if no member expires."""
    return getattr(value, "earliest_ms", None)


def left_of(value: Value, now_ms: int) -> Generator[None, None, Value | None]:
    """Return what is left of a value at a time (Unix milliseconds), in steps: a fork if some of its members are due then.

    None if no other member is left. The value stays as it is.
    """
    first_ms = earliest_ms(value)
    if first_ms is None or first_ms > now_ms:
        return value
    left: Any = fork(value)
    while kind_of(value).lapse(b"", left, now_ms, LAPSES_A_STEP):
        yield
    return left if len(left) else None


def form_of_tag(tag: str) -> Form | None:
    """The form with this tag, or None if no kind has it."""
    return _forms.get(tag)


def load_of_dump(dump_type: int) -> Load | None:
    """The way to read payloads of RESTORE that begin with this byte (`Kind.loads`), or None if no kind has one."""
    return _loads.get(dump_type)


def all_kinds() -> list[Kind]:
    """All kinds, in the order in which they were registered."""
    return list(dict.fromkeys(_kinds.values()))
