"""Documents as values: read, and changed in place, at a location. Pure.

A small document is held as its canonical text (`JSONText`), and a command that asks for a path makes a Document of it for
as long as it runs. A large one stays a Document from then on, so that a path neither parses nor writes the whole. Measured
with records of six members, in µs of the processor, and memory per byte of text (resident; `size_bytes` says a tenth less):

             a path of a text: read, set    of a Document    the whole as text: got    of a Document    memory
    100 B             3          5          0.7     0.5              0                   1.6        1.5    9.8
    2 KB             14         25          0.7     0.5              0                    11        1.0    7.7
    10 KB            60        112          1.2     1.0              0                    48        1.0      -
    10 MB       270,000    270,000           20      13              0                82,000        1.0    7.9

The first two figures at 10 MB are those of parsing and writing together; memory at 10 KB was not measured.
So a text takes an eighth of the memory, and up to 2 KB no more time than a command takes anyway. Above that, the time of each
path grows with the document, and a Document is kept once a path was asked for, or where JSON.SET has parsed it already.

How commands come by documents, and keep them, is in `storage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from sys import getsizeof
from typing import Final, NamedTuple

from kvserver.containers import lazyfree
from kvserver.formats.codec import JSON
from kvserver.types.json.writing import weight, write

# The keys from the root to a value: names of objects, and positions in arrays, which are not negative. () is the root.
Location = tuple[str | int, ...]

# The memory of a value is estimated by so many values within it, of which so many are in one container.
_LOOKS: Final = 1024
_LOOKS_EACH: Final = 64
# What is larger is freed in steps.
_LARGE_WEIGHT: Final = 512
# The members of an object that has more are taken for records with names of their own, others for records that share theirs.
_SHARED_NAMES: Final = 32
# The members of a container that go in one step.
_FREED_A_STEP: Final = 256


class Document:
    """A document, changed in place: Python values as `json.loads` gives them.

    `has_constants`: see `writing.write`. `is_kept`: it is what is stored under a key, not made for a command alone. `changes`
    counts how often it was changed.

    Whoever changes a container in it by himself gets that from `list_at` or `dict_at`, and calls `changed`. What is put into
    a document belongs to it: nobody else may change it, nor may it be in another document.
    """

    __slots__ = ("_left", "_own", "_size_bytes", "changes", "has_constants", "is_kept", "root")

    def __init__(self, root: JSON, *, has_constants: bool = False) -> None:
        self.root = root
        self.has_constants = has_constants
        self.is_kept = False
        self.changes = 0
        # The ids of the containers that no fork has, as far as that is known; None: no fork has any. A container that a fork
        # has stays alive, or comes never back, so that no other one gets its id.
        self._own: set[int] | None = None
        # Estimated when somebody asks.
        self._size_bytes: int | None = None
        # Of a draft, what is to be freed when it has become the document.
        self._left: _Left | None = None

    def at(self, location: Location) -> JSON:
        """Return the value at a location, to be read. LookupError or TypeError if there is none."""
        value = self.root
        for key in location:
            value = value[key]
        return value

    def put(self, location: Location, value: JSON) -> None:
        """Replace the value at a location, or add a member to an object."""
        self.changes += 1
        if not location:
            before, self.root = self.root, value
        else:
            container = self._own_at(location[:-1])
            key = location[-1]
            before = container.get(key) if type(container) is dict else container[key]
            container[key] = value
        if self._size_bytes is not None:
            self.changed(size_of(value) - size_of(before))
        self._drop(before)

    def delete(self, location: Location) -> None:
        """Remove the value at a location, which is not the root. LookupError or TypeError if there is none."""
        self.changes += 1
        before = self._own_at(location[:-1]).pop(location[-1])
        if self._size_bytes is not None:
            self.changed(-size_of(before))
        self._drop(before)

    def list_at(self, location: Location) -> list[JSON]:
        """Return the array at a location, to be changed in place. TypeError if another value is there."""
        self.changes += 1
        found = self._own_at(location)
        if type(found) is not list:
            raise TypeError("no array")
        return found

    def dict_at(self, location: Location) -> dict[str, JSON]:
        """Return the object at a location, to be changed in place. TypeError if another value is there."""
        self.changes += 1
        found = self._own_at(location)
        if type(found) is not dict:
            raise TypeError("no object")
        return found

    def changed(self, bytes_more: int) -> None:
        """Take notice that values within take so many bytes more (`size_of`); fewer, if that is negative."""
        if self._size_bytes is not None:
            self._size_bytes = max(self._size_bytes + bytes_more, 0)

    def size_bytes(self) -> int:
        """Return the memory that the document takes: an estimate in constant time."""
        if self._size_bytes is None:
            self._size_bytes = getsizeof(self) + size_of(self.root)
        return self._size_bytes

    def text(self) -> bytes:
        """Return the canonical JSON of the whole document."""
        return write(self.root, has_constants=self.has_constants)

    def fork(self) -> Document:
        """Return an equal document that is independent of this one: either copies a container before it changes that."""
        other = Document(self.root, has_constants=self.has_constants)
        other.is_kept, other._size_bytes = self.is_kept, self._size_bytes
        other._own, self._own = set(), set()
        return other

    def draft(self) -> Document:
        """Return a fork that is no document of its own, but may become this one's next state by `become`."""
        other = self.fork()
        other.is_kept = False
        other._left = _Left([], [])
        return other

    def become(self, draft: Document) -> None:
        """Take over the state of a draft, which nobody uses any more."""
        if draft is self:
            return
        self.changes += 1
        if draft._left:
            let_go(draft._left.values)
            if lazyfree.begun() and len(draft._left.copied) > _FREED_A_STEP:
                lazyfree.free_in_steps(_popping(draft._left.copied))
        self.root, self._own, self._size_bytes = draft.root, draft._own, draft._size_bytes
        self.has_constants = draft.has_constants

    def hold(self) -> Hold:
        """Let what is there now stay as it is, for who reads it: until the release, this copies a container to change it."""
        before, self._own = self._own, set()
        return Hold(self, before, self._own)

    def _drop(self, value: JSON) -> None:
        if self._left:
            self._left.values.append(value)
        else:
            let_go(value)

    def _owned(self, value: JSON, own: set[int]) -> JSON:
        """Return the value itself, or a copy of a container that is not among these, which is among them from then on."""
        if (type(value) is dict or type(value) is list) and id(value) not in own:
            if self._left:
                self._left.copied.append(value)
            value = value.copy()
            own.add(id(value))
        return value

    def __del__(self) -> None:
        # At the end of the interpreter a module may have lost its names.
        if self.is_kept and lazyfree is not None and lazyfree.begun is not None and lazyfree.begun():
            let_go(self.root)

    def _own_at(self, location: Location) -> JSON:
        """Return the value at a location after all containers on the way, and itself, were made the document's own."""
        own = self._own
        if own is None:
            return self.at(location)
        value = self.root = self._owned(self.root, own)
        for key in location:
            child = value[key]
            owned = self._owned(child, own)
            if owned is not child:
                value[key] = owned
            value = owned
        return value


class Hold:
    """The hold that a reader has on a document."""

    def __init__(self, document: Document, before: set[int] | None, own: set[int]) -> None:
        self._document = document
        # The document's own containers before, and since.
        self._before = before
        self._own = own

    def release(self) -> None:
        """Let the document be changed in place again, if nothing has changed it, and nobody else has anything of it."""
        if self._document._own is self._own and not self._own:
            self._document._own = self._before


class _Left(NamedTuple):
    """What a draft has left behind: values that are in it no more, and containers that it has copies of."""

    values: list[JSON]
    copied: list[JSON]


def size_of(value: JSON) -> int:
    """Return the memory, in bytes, that a value takes with all within it. It is estimated by some hundred of these."""
    total: float = 0
    # Values, how many within each may be looked at, and how many others each stands for. A deep value would take too many
    # calls.
    waiting: list[tuple[JSON, int, float]] = [(value, _LOOKS, 1)]
    while waiting:
        value, looks, times = waiting.pop()
        kind = type(value)
        if kind is not dict and kind is not list:
            if value is not None and kind is not bool:
                total += times * getsizeof(value)
            continue
        count = len(value)
        total += times * getsizeof(value)
        if not count or not looks:
            continue
        most = min(looks, _LOOKS_EACH)
        children = list(islice(value.values(), most)) if kind is dict else value[:: -(-count // most)]
        more = times * count / len(children)
        if kind is dict and count > _SHARED_NAMES:
            total += more * sum(map(getsizeof, islice(value, most)))
        each = (looks - len(children)) // len(children)
        waiting += [(child, each, more) for child in children]
    return int(total)


def let_go(value: JSON) -> None:
    """Have a value that nobody needs any more freed in steps, if it is large. Others may have what is in it."""
    if (type(value) is dict or type(value) is list) and lazyfree.begun() and weight(value, _LARGE_WEIGHT) >= _LARGE_WEIGHT:
        lazyfree.free_in_steps(_freeing([value]))


def _freeing(waiting: list[JSON]) -> Iterator[None]:
    """Let go of containers one by one, each before those within it: it goes alone, since these are held here."""
    while waiting:
        container = waiting.pop()
        members = list(container.values()) if type(container) is dict else container
        if len(members) > _FREED_A_STEP:
            # The pieces hold what is in the container, which takes long only for what is freed.
            waiting += [members[start : start + _FREED_A_STEP] for start in range(0, len(members), _FREED_A_STEP)]
        else:
            waiting += [member for member in members if (type(member) is dict or type(member) is list) and member]
        del container, members
        yield


def _popping(containers: list[JSON]) -> Iterator[None]:
    """Let go of containers, but of nothing within them."""
    while containers:
        del containers[-_FREED_A_STEP:]
        yield
