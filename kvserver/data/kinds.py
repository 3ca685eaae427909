"""What every data type must answer, and which type answers for a value: nobody else here asks what a value is.

A data type is a folder of `kvserver.types`; its `value.py` holds its kind, and `kvserver.types` lists all of them. Data,
formats and commands that are about no type (TYPE, OBJECT, DUMP, COPY, SCAN) ask the kind of the value that they meet.

One value is not asked about where it was measured: plain `bytes`, a string in most stores, and in a payload what JSON
itself has a form for. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from kvserver.data.entries import Entry, Value

VALUE: Final = "value"  # the tag of JSON that stands for itself: written only where something else has to be said, too


class LongReader(Protocol):
    """Reads one long value of a payload, which comes in chunks, in short steps."""

    has_ended: bool  # all of the value's JSON has been read

    def read(self, data: bytes, position: int) -> int | None:
        """Read a piece that begins there: where the next begins. The same place: more data is needed. None: this is no tag."""

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        """The entry and where it ends, by what stands behind the value's JSON. None: this is no tag."""

    def as_json(self) -> bytes:
        """JSON that means what was read so far."""


class Form(NamedTuple):
    """How JSON with a tag in a payload becomes a value."""

    # The value of the JSON, parsed. None, or any value, where `Kind.json` would not give this JSON under this tag.
    read: Callable[[Any], Value | None]
    # A reader of a long one, by all that stood before its JSON, and the expiry (Unix milliseconds) that was in there. None:
    # it is read as a whole, however long.
    begin_long: Callable[[bytes, int | None], LongReader | None]


class Kind(Protocol):
    """A data type. Values are those of its `types`; where it says Any, one of them is meant."""

    name: str  # as TYPE tells it
    types: tuple[type, ...]  # Python's, exactly these, of its values
    forms: Mapping[str, Form]  # in a payload, by tag, but for VALUE
    # By the first byte of a payload of RESTORE: the value of what is between that and the footer, in which no string is longer
    # than so many bytes. DumpInvalid where there is none.
    loads: Mapping[int, Callable[[bytes, int], Value]]

    def encoding(self, value: Any) -> bytes:
        """The answer of OBJECT ENCODING."""

    def size_bytes(self, value: Any) -> int:
        """What it takes in memory, estimated. O(1)."""

    def fork(self, value: Any) -> Value:
        """A value that is equal and of which a change is none of this one. The same object where values are never changed."""

    def recreation(self, key: bytes, value: Any, expires_at_ms: int | None) -> list[list[bytes]]:
        """The commands that store this value under the key, with its expiry (Unix milliseconds) or none (None)."""

    def json(self, value: Any) -> tuple[str, bytes]:
        """The form in which it stands in a payload: its tag, and canonical JSON. VALUE where the JSON stands for itself.

        The same for equal values. JSON under VALUE is read as a string's or a document's.
        """

    def json_steps(self, value: Any) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        """The same for a long value: after steps that give nothing (b"") the tag, and the JSON in pieces.

        No step and no piece takes longer than some hundred microseconds. No piece is empty.
        """

    def dump(self, value: Any) -> bytes:
        """What DUMP gives before its footer: a type, and what is of that type. RESTORE may make another kind of it."""


_kinds: Final[dict[type, Kind]] = {}
_forms: Final[dict[str, Form]] = {}
_loads: Final[dict[int, Callable[[bytes, int], Value]]] = {}


def register(kind: Kind) -> None:
    """Let a kind answer for its types, forms and dumps. ValueError where another one does already."""
    taken = {*kind.types} & _kinds.keys() or kind.forms.keys() & _forms.keys() or kind.loads.keys() & _loads.keys()
    if taken:
        raise ValueError(f"{kind.name}: another kind answers for {taken}")
    _kinds.update(dict.fromkeys(kind.types, kind))
    _forms.update(kind.forms)
    _loads.update(kind.loads)


def kind_of(value: Value) -> Kind:
    """The kind of a value. KeyError for an object of a type that no kind has."""
    return _kinds[type(value)]


def form_of_tag(tag: str) -> Form | None:
    """The form with this tag, if a kind has it."""
    return _forms.get(tag)


def load_of_dump(dump_type: int) -> Callable[[bytes, int], Value] | None:
    """What reads payloads of RESTORE that begin with this byte, if a kind does."""
    return _loads.get(dump_type)


def all_kinds() -> list[Kind]:
    """All kinds, in the order in which they were registered."""
    return list(dict.fromkeys(_kinds.values()))
