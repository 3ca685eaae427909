"""The segments of a path, by which values lead to values within. Pure.

What a segment does with a large document takes long, so all goes in chunks: lists of a few hundred nodes, each of which
is made in a short time. Between two of them whoever asks may do something else, as long as nobody changes the document.

The order of nodes is that of RFC 9535.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from kvserver.formats.codec import JSON
from kvserver.types.json.document import Location
from kvserver.types.json.work import Work

# A location as a pair of the link to the container and the last key; None is the root. It takes no time to make one.
Link = tuple[Any, str | int] | None
Node = tuple[JSON, Link]
Chunk = list[Node]
Chunks = Iterator[Chunk]

_Result = TypeVar("_Result")
# What has a result in the end, and yields empty chunks until then, so that others get their turn.
InChunks = Generator[Chunk, None, _Result]

CHUNK: Final = 256


class Search(NamedTuple):
    """One search in a document: its root, and what it may still look at."""

    root: JSON
    work: Work


class Selector(Protocol):
    def select(self, nodes: Chunk, search: Search) -> Chunks:
        """Yield what is selected of each of the nodes, in order."""
        ...


class Name(NamedTuple):
    """`.name` and `['name']`: the member of an object."""

    name: str

    def select(self, nodes: Chunk, search: Search) -> Chunks:
        name = self.name
        search.work.spend(len(nodes))
        yield [(value[name], (link, name)) for value, link in nodes if type(value) is dict and name in value]


class Index(NamedTuple):
    """`[2]`, or `[-1]` from the end: the member of an array."""

    place: int

    def select(self, nodes: Chunk, search: Search) -> Chunks:
        index = self.place
        search.work.spend(len(nodes))
        yield [
            (value[index], (link, index if index >= 0 else index + len(value)))
            for value, link in nodes
            if type(value) is list and -len(value) <= index < len(value)
        ]


class Wildcard(NamedTuple):
    """`*`: all members."""

    def select(self, nodes: Chunk, search: Search) -> Chunks:
        return _children(nodes, search.work)


class Slice(NamedTuple):
    """`[1:9:2]`: members of an array."""

    start: int | None
    end: int | None
    step: int | None

    def select(self, nodes: Chunk, search: Search) -> Chunks:
        if self.step == 0:
            return
        found: Chunk = []
        for value, link in nodes:
            if type(value) is not list:
                continue
            places = range(*slice(self.start, self.end, self.step).indices(len(value)))
            for first in range(0, len(places), CHUNK):
                found += [(value[place], (link, place)) for place in places[first : first + CHUNK]]
                if len(found) >= CHUNK:
                    search.work.spend(len(found))
                    yield found
                    found = []
        search.work.spend(len(nodes) + len(found))
        yield found


class Test(Protocol):
    """A condition of a filter.

    `quick` tells of a value, and the root, if it holds, in a short time; None, if that may take longer: then there is `steps`.
    """

    @property
    def quick(self) -> Callable[[JSON, JSON], bool] | None: ...

    def steps(self, value: JSON, search: Search) -> InChunks[bool]: ...


class Filter(NamedTuple):
    """`?@.price < 10`: the members that pass a test."""

    test: Test

    def select(self, nodes: Chunk, search: Search) -> Chunks:
        quick, root = self.test.quick, search.root
        for chunk in _children(nodes, search.work):
            if quick:
                yield [node for node in chunk if quick(node[0], root)]
                continue
            for node in chunk:
                if (yield from self.test.steps(node[0], search)):
                    yield [node]


class Segment(NamedTuple):
    """Selectors, for the nodes themselves or, if it is a descendant segment (`..`), for all that is within them, too."""

    selectors: tuple[Selector, ...]
    is_descendant: bool

    @property
    def key(self) -> str | int | None:
        """The one key that it selects, whatever the document is; None if it may select more."""
        if self.is_descendant or len(self.selectors) > 1:
            return None
        selector = self.selectors[0]
        return selector.name if type(selector) is Name else selector.place if type(selector) is Index else None

    def follow(self, chunks: Chunks, search: Search) -> Chunks:
        """Yield what the segment selects of all these nodes, in order."""
        for each in chunks:
            for nodes in _containers(each, search.work) if self.is_descendant else (each,):
                if not nodes:
                    yield nodes
                elif len(self.selectors) == 1:
                    yield from self.selectors[0].select(nodes, search)
                else:
                    for node in nodes:
                        for selector in self.selectors:
                            yield from selector.select([node], search)


def follow(segments: tuple[Segment, ...], value: JSON, search: Search) -> Chunks:
    """Yield the nodes to which segments lead from a value, as chunks, of which some are empty."""
    chunks: Chunks = iter([[(value, None)]])
    for segment in segments:
        chunks = segment.follow(chunks, search)
    return chunks


def location(link: Link) -> Location:
    """The location that a link stands for."""
    keys = []
    while link is not None:
        link, key = link
        keys.append(key)
    return tuple(reversed(keys))


def _members(value: JSON) -> Iterator[tuple[str | int, JSON]]:
    """The keys and members of a container; nothing for other values."""
    if type(value) is dict:
        return iter(value.items())
    return enumerate(value) if type(value) is list else iter(())


def _children(nodes: Chunk, work: Work) -> Chunks:
    """Yield all members of nodes."""
    found: Chunk = []
    for value, link in nodes:
        members = _members(value)
        while piece := list(islice(members, CHUNK - len(found))):
            found += [(member, (link, key)) for key, member in piece]
            if len(found) == CHUNK:
                work.spend(CHUNK)
                yield found
                found = []
    work.spend(len(nodes) + len(found))
    yield found


def _containers(nodes: Chunk, work: Work) -> Chunks:
    """Yield those of the nodes that are containers, and all containers within them, each before what is in it."""
    found: Chunk = []
    for node in nodes:
        # The members of the containers on the way that are still to be looked at; None among them stands for a pause.
        waiting: list[Iterator[Node | None]] = [iter((node,))]
        while waiting:
            following = next(waiting[-1], _END)
            if following is _END:
                waiting.pop()
                continue
            if following is not None:
                value, link = following
                if type(value) is not dict and type(value) is not list:
                    continue
                work.spend(1)
                found.append(following)
                if value:
                    waiting.append(_within(value, link, work))
            if following is None or len(found) == CHUNK:
                yield found
                found = []
    yield found


# An object that is no node.
_END: Final[Any] = object()


def _within(value: JSON, link: Link, work: Work) -> Iterator[Node | None]:
    """The containers that are members of a container. None for so many members that it is time for a pause."""
    if len(value) <= CHUNK:
        work.spend(len(value))
        return iter([(each, (link, key)) for key, each in _members(value) if type(each) is dict or type(each) is list])
    return _long_within(value, link, work)


def _long_within(value: JSON, link: Link, work: Work) -> Iterator[Node | None]:
    members = _members(value)
    while piece := list(islice(members, CHUNK)):
        work.spend(len(piece))
        yield from [(each, (link, key)) for key, each in piece if type(each) is dict or type(each) is list]
        yield None
