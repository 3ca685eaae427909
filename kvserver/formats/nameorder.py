"""The members of a large table in the order of their names in JSON (`names`), in slices. Pure.

Members come in chunks, each of which is a random sample of all. A pile of them is divided into piles along borders that a
sample gives, and these again, until a pile is small enough to be sorted in groups and merged (`sorting.merge`). A pile holds
references; names are made as they are compared, so that those that are base64 are never all in memory.

Most members are their own names. The others, whose names all begin in the same way, are a pile of their own.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from kvserver.containers import fresh, lazyfree
from kvserver.formats.names import RESERVED, is_plain
from kvserver.formats.sorting import BATCH_BYTES, divide, merge

# A step divides or sorts so many members.
PIECE_MEMBERS: Final = 256
# A pile of no more members is sorted in groups.
_PILE_MEMBERS: Final = 1 << 13
# A pile is divided into so many at most, and so many members of the sample lie between two borders.
_MOST_PARTS: Final = 64
_SAMPLES_PER_PART: Final = 8
# The pieces of a page for `lazyfree`.
_PAGE_PIECES: Final = 64

# The names of members of which all are their own names, or none is.
_Naming = Callable[[list[bytes] | tuple[bytes, ...]], list[bytes]]


class _Pile:
    """Members in no order, in pieces: tuples, which the garbage collector soon leaves alone.

    One that is dropped, since the encoding was given up, is freed in steps.
    """

    __slots__ = ("_coming", "pieces")

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, ...]] = []
        self._coming: list[bytes] = []

    @property
    def coming(self) -> list[bytes]:
        """Those that came last, to which others are added."""
        return self._coming

    def settle(self, *, is_end: bool = False) -> None:
        """Make pieces of those that came last: of as many as make whole ones, and at the end of all."""
        coming = self._coming
        while len(coming) >= PIECE_MEMBERS or (is_end and coming):
            self.pieces.append(tuple(coming[-PIECE_MEMBERS:]))
            fresh.note(PIECE_MEMBERS)
            del coming[-PIECE_MEMBERS:]

    def sample(self, count: int) -> list[bytes]:
        """Some of the members, so many at least if there are so many."""
        found: list[bytes] = []
        for piece in reversed(self.pieces):
            if len(found) >= count:
                break
            found += piece
        return found

    def __del__(self) -> None:
        # At the end of the interpreter a module may have lost its names.
        if len(self.pieces) > 1 and lazyfree is not None and lazyfree.free is not None:
            starts = range(0, len(self.pieces), _PAGE_PIECES)
            lazyfree.free([self.pieces[start : start + _PAGE_PIECES] for start in starts], list)


def by_name(chunks: Iterable[Iterable[bytes]]) -> Iterator[list[bytes] | None]:
    """Yield members, each of which came once, some hundred at a time, in the order of their names. None is a step that sorted.

    Nobody may change the table meanwhile.
    """
    plain, others = _Pile(), _Pile()
    for chunk in chunks:
        members = list(chunk)
        # Long members are not joined at all: it would take its time.
        joined = b"".join(members) if sum(map(len, members)) <= BATCH_BYTES else b"\xff"
        if joined.isascii() and RESERVED not in joined:
            plain.coming.extend(members)
        else:
            for member in members:
                (plain if is_plain(member) else others).coming.append(member)
        plain.settle()
        others.settle()
        yield None
    is_above = False
    for names in _by_name(plain, list):
        if names and not is_above and names[-1] > RESERVED:
            # No plain name begins with what those of the others begin with.
            place = bisect_left(names, RESERVED)
            if place:
                yield names[:place]
            yield from _others_by_name(others)
            names, is_above = names[place:], True
        yield names
    if not is_above:
        yield from _others_by_name(others)


def _others_by_name(pile: _Pile) -> Iterator[list[bytes] | None]:
    for names in _by_name(pile, _base64_names):
        yield None if names is None else [a2b_base64(name[len(RESERVED) :]) for name in names]


def _base64_names(members: list[bytes] | tuple[bytes, ...]) -> list[bytes]:
    return [RESERVED + b2a_base64(member, newline=False) for member in members]


def _by_name(pile: _Pile, naming: _Naming) -> Iterator[list[bytes] | None]:
    """Yield the names of a pile, which is used up."""
    pile.settle(is_end=True)
    count = sum(map(len, pile.pieces))
    if count <= _PILE_MEMBERS:
        groups: list[list[bytes]] = []
        while pile.pieces:
            groups.append(sorted(naming(pile.pieces.pop())))
            fresh.note(len(groups[-1]))
            yield None
        if groups:
            yield from merge(groups)
        return
    parts = min(count // (_PILE_MEMBERS // 2), _MOST_PARTS)
    sample = naming(pile.sample(parts * _SAMPLES_PER_PART))
    yield None
    find = partial(bisect_right, divide(sorted(sample), parts))
    yield None
    piles = [_Pile() for _ in range(parts)]
    while pile.pieces:
        members = pile.pieces.pop()
        coming = [part.coming for part in piles]
        for index, member in zip(map(find, naming(members)), members, strict=True):
            coming[index].append(member)
        for part in piles:
            part.settle()
        yield None
    for part in piles:
        yield from _by_name(part, naming)
