"""The kind of sorted sets. A small one is a packed `str` of members and scores in order, a large one a `SortedSet`. Pure.

Commands that are not hot see both by the same methods: `members_of` gives a sorted set that may be read, `changeable` one that
may be changed, and `store` keeps it. So each of them is written once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, pairwise
from math import copysign, isfinite
from operator import gt
from typing import Final, Self

from kvserver.containers.ordered import Ordered
from kvserver.containers.packed import MOST_MEMBERS, pack_pairs
from kvserver.containers.table import Table
from kvserver.data.entries import Value
from kvserver.data.kinds import Elements, Form, Load
from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats import rdb_collections as rdb
from kvserver.formats.digest import EMPTY, ZSET_TYPE, join, mix
from kvserver.formats.longcollection import LongPairs
from kvserver.formats.members import INFINITIES, pairs_pieces
from kvserver.formats.names import as_text, bytes_of
from kvserver.formats.rdb_chunks import LONG_ZSETS, Body, zset_chunks
from kvserver.formats.rdb_pieces import zset_in_pieces
from kvserver.options.config import Config
from kvserver.state.session import Session
from kvserver.types.collection import Collection
from kvserver.types.sorted_set.bounds import MemberBound, ScoreBound
from kvserver.types.sorted_set.packed_scores import in_order
from kvserver.types.sorted_set.score import text_of

MARK: Final = "z"
TAG: Final = "zset"
# Redis's defaults, by which a sorted set that is loaded is called a listpack.
LISTPACK_MEMBERS: Final = 128
LISTPACK_BYTES: Final = 64
# The memory of a score as an object.
_SCORE_BYTES: Final = 24


class Small:
    """A sorted set as a dict, and as lists once somebody asks for the order. It is made for one command.

    `scores` has the score of each member; only `add` and `remove` may change it. `is_listpack`: Redis would hold it as a
    listpack. Positions count from 0, in ascending order.
    """

    __slots__ = ("_order", "is_listpack", "scores")

    def __init__(self, scores: dict[bytes, float], order: tuple[list[bytes], list[float]] | None = None) -> None:
        """Begin with these members and scores; `order` has the same in ascending order, if the caller knows that."""
        self.scores = scores
        self.is_listpack = True
        # The members in ascending order, and their scores, or None if they have changed.
        self._order = order

    def add(self, member: bytes, score: float) -> None:
        """Give a member a score, whether the member is new or not."""
        self.scores[member] = score
        self._order = None

    def remove(self, member: bytes) -> bool:
        """Remove a member. Return True if it was there."""
        self._order = None
        return self.scores.pop(member, None) is not None

    def remove_slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Remove the members from one position up to another. Return them as `slice` does."""
        members, scores = self.slice(start, stop)
        for member in members:
            self.remove(member)
        return members, scores

    def rank(self, member: bytes) -> int | None:
        """The position of a member, or None if it is missing."""
        score = self.scores.get(member)
        if score is None:
            return None
        members, scores = self._ordered()
        return members.index(member, bisect_left(scores, score))

    def members(self, start: int, stop: int) -> list[bytes]:
        """The members from one position up to another, neither of which is negative, in a new list."""
        return self._ordered()[0][start:stop]

    def slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """The members from one position up to another, neither of which is negative, and their scores, in new lists."""
        members, scores = self._ordered()
        return members[start:stop], scores[start:stop]

    def between_scores(self, low: ScoreBound, high: ScoreBound) -> tuple[int, int]:
        """The positions from which on and up to which members lie between two bounds; the second one may be less."""
        return self._position(low), self._position(high)

    def between_members(self, low: MemberBound, high: MemberBound, *, is_backwards: bool) -> tuple[int, int]:
        """As `between_scores`, for bounds of members; `is_backwards` tells from where Redis looks for the first of them."""
        return _walk(self.members(0, len(self.scores)), low, high, is_backwards)

    def __iter__(self) -> Iterator[tuple[bytes, float]]:
        return zip(*self._ordered(), strict=True)

    def chunks(self) -> Iterator[tuple[Sequence[bytes], Sequence[float]]]:
        """The members and their scores in one."""
        return iter((self.slice(0, len(self.scores)),))

    def _ordered(self) -> tuple[list[bytes], list[float]]:
        if self._order is None:
            pairs = sorted(zip(self.scores.values(), self.scores, strict=True))
            self._order = [member for _, member in pairs], [score for score, _ in pairs]
        return self._order

    def _position(self, bound: ScoreBound) -> int:
        find = bisect_right if bound.is_behind else bisect_left
        return find(self._ordered()[1], bound.score)


class SortedSet:
    """A large sorted set, changed in place. Its attributes and methods are those of a `Small`, and `fork`."""

    __slots__ = ("_order", "is_listpack", "scores")

    def __init__(self, pairs: Iterable[tuple[bytes, float]], *, is_listpack: bool) -> None:
        """Begin with these members and scores, which are in ascending order."""
        some = list(pairs)
        members, scores = [member for member, _ in some], [score for _, score in some]
        self.scores = Table()
        self._order = Ordered()
        self.is_listpack = is_listpack
        self.load(members, scores)

    def load(self, members: list[bytes], scores: list[float]) -> None:
        """Add members that are in order and behind all that are there. ValueError if they are not."""
        self._order.load(members, scores)
        self.scores.update(zip(members, scores, strict=True))

    def add(self, member: bytes, score: float) -> None:
        self.give(member, score, self.scores.get(member))

    def give(self, member: bytes, score: float, present: float | None) -> None:
        """`add` for a caller who knows the score that the member has."""
        self.scores.set(member, score)
        if present is None:
            self._order.add(score, member)
        else:
            self._order.move(present, member, score)

    def pop_first(self) -> tuple[bytes, float]:
        """Remove the first member, and return it with its score. IndexError if there is none."""
        pair = self._order.pop_first()
        self.scores.delete(pair[0])
        return pair

    def remove(self, member: bytes) -> bool:
        score: float | None = self.scores.get(member)
        if score is None:
            return False
        self.scores.delete(member)
        self._order.remove(score, member)
        return True

    def remove_slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        members, scores = self._order.remove_slice(start, stop)
        for member in members:
            self.scores.delete(member)
        return members, scores

    def rank(self, member: bytes) -> int | None:
        score: float | None = self.scores.get(member)
        return None if score is None else self._order.rank(score, member)

    def members(self, start: int, stop: int) -> list[bytes]:
        return self._order.members(start, stop)

    def slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        return self._order.slice(start, stop)

    def between_scores(self, low: ScoreBound, high: ScoreBound) -> tuple[int, int]:
        return self._order.position_of_score(*low), self._order.position_of_score(*high)

    def between_members(self, low: MemberBound, high: MemberBound, *, is_backwards: bool) -> tuple[int, int]:
        if self.is_listpack:
            return _walk(self.members(0, len(self.scores)), low, high, is_backwards)
        return self._position(low), self._position(high)

    def __iter__(self) -> Iterator[tuple[bytes, float]]:
        return iter(self._order)

    def backwards(self) -> Iterator[tuple[bytes, float]]:
        """The members and their scores in descending order. Nobody may change the sorted set meanwhile."""
        return reversed(self._order)

    def chunks(self) -> Iterator[tuple[Sequence[bytes], Sequence[float]]]:
        """The members and their scores, some hundred at a time. Nobody may change them."""
        return self._order.chunks()

    def fork(self) -> Self:
        """An equal sorted set, independent of this one: either of the two copies what it changes."""
        other = type(self).__new__(type(self))
        other.scores, other._order, other.is_listpack = self.scores.fork(), self._order.fork(), self.is_listpack
        return other

    def size_bytes(self) -> int:
        """The memory that the sorted set takes: an estimate in constant time."""
        return self.scores.size_bytes() + self._order.size_bytes() + _SCORE_BYTES * len(self.scores)

    def _position(self, bound: MemberBound) -> int:
        return len(self.scores) if bound.member is None else self._order.position_of_member(bound.member, bound.is_behind)


def _walk(members: list[bytes], low: MemberBound, high: MemberBound, is_backwards: bool) -> tuple[int, int]:
    """Redis's way through a listpack, which also decides what is found where scores differ, so that members are in no order.

    Source: zzlIsInLexRange, zzlFirstInLexRange and zzlLastInLexRange in t_zset.c.
    """
    count = len(members)
    if not count or not low.is_passed_by(members[-1]) or high.is_passed_by(members[0]):
        return 0, 0
    if is_backwards:
        stop = next((stop for stop in range(count, 0, -1) if not high.is_passed_by(members[stop - 1])), 0)
        return next((start for start in range(stop, 0, -1) if not low.is_passed_by(members[start - 1])), 0), stop
    start = next((start for start in range(count) if low.is_passed_by(members[start])), count)
    return start, next((stop for stop in range(start, count) if high.is_passed_by(members[stop])), count)


# --- A sorted set as commands see it: a small one, made for the command, or the large one itself ---

Members = Small | SortedSet


def members_of(value: Value | None) -> Members | None:
    """The sorted set that is a value, to be read; None for None. CommandError for a value of another kind."""
    if type(value) is str and value[0] == MARK:
        members, scores = in_order(value)
        return Small(dict(zip(members, scores, strict=True)), (members, scores))
    if value is None or type(value) is SortedSet:
        return value
    raise CommandError(WRONG_TYPE)


def changeable(session: Session, key: bytes) -> Members:
    """The sorted set under a key, which `store` must be given when it is changed; an empty one if the key is missing."""
    members = members_of(session.keyspace.own(key))
    return Small({}) if members is None else members


def put(members: Members, member: bytes, score: float, config: Config) -> None:
    """Give a member a score that it has not. As in Redis, a listpack may become too long for this, and it holds no -0.0."""
    if members.is_listpack:
        is_full = len(members.scores) >= config.zset_max_listpack_entries or len(member) > config.zset_max_listpack_value
        if is_full and member not in members.scores:
            members.is_listpack = False
        else:
            score += 0.0
    members.add(member, score)


def store(session: Session, key: bytes, members: Members, request: list[bytes]) -> None:
    """Keep a sorted set that the request has changed; the key goes if the sorted set is empty."""
    session.keyspace.change(key, value_of(members) if members.scores else None, request)


def result_of(scores: dict[bytes, float], config: Config) -> Small:
    """The sorted set that a request stores as its result, in the encoding that Redis chooses for it."""
    longest = max(map(len, scores), default=0)
    is_listpack = len(scores) <= config.zset_max_listpack_entries and longest <= config.zset_max_listpack_value
    # Redis's listpacks hold no -0.0.
    result = Small({member: score + 0.0 for member, score in scores.items()} if is_listpack else scores)
    result.is_listpack = is_listpack
    return result


def put_result(session: Session, key: bytes, result: Members, request: list[bytes] | None) -> int:
    """Store a result in place of what is under a key, and return the number of members.

    The request is what is recorded: it gives the same result again. If it is None, the value itself is recorded.
    """
    keyspace = session.keyspace
    if not result.scores:
        if keyspace.live(key) is not None:
            keyspace.remove(key)
    elif request is None:
        keyspace.put(key, value_of(result))
    else:
        keyspace.put_as(key, value_of(result), request)
    return len(result.scores)


def value_of(members: Members) -> str | SortedSet:
    """The value to store for a sorted set that is not empty."""
    if type(members) is SortedSet:
        return members
    packed = None
    if members.is_listpack and len(members.scores) <= MOST_MEMBERS:
        packed = pack_pairs(MARK, ((member, text_of(score)) for member, score in members))
    return SortedSet(members, is_listpack=members.is_listpack) if packed is None else packed


def _loaded(members: list[bytes], scores: list[float]) -> str | SortedSet:
    """The value of members and their scores, which are in order."""
    is_listpack = (
        len(members) <= LISTPACK_MEMBERS
        and max(map(len, members)) <= LISTPACK_BYTES
        # No listpack holds a -0.0, which must not be lost.
        and not (0.0 in scores and any(score == 0 and copysign(1, score) < 0 for score in scores))
    )
    if is_listpack and len(members) <= MOST_MEMBERS:
        return value_of(Small(dict(zip(members, scores, strict=True)), (members, scores)))
    large = SortedSet((), is_listpack=is_listpack)
    large.load(members, scores)
    return large


def _read(document: object) -> Value | None:
    if not isinstance(document, list) or not document:
        return None
    pairs: list[tuple[bytes, float]] = []
    for item in document:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
            return None
        member = bytes_of(item[0])
        score = INFINITIES.get(item[1]) if isinstance(item[1], str) else item[1]
        if member is None or not isinstance(score, float) or not (isfinite(score) or isinstance(item[1], str)):
            return None
        pairs.append((member, score))
    is_ordered = all((one[1], one[0]) < (other[1], other[0]) for one, other in pairwise(pairs))
    if not is_ordered or len(dict(pairs)) < len(pairs):
        return None
    return _loaded([member for member, _ in pairs], [score for _, score in pairs])


class _Builder:
    """Makes the sorted set of a payload, whose members come in order."""

    def __init__(self) -> None:
        self._members = SortedSet((), is_listpack=False)
        self._count = 0

    def add(self, members: list[bytes], values: list[float]) -> None:
        self._members.load(members, values)
        self._count += len(members)

    def value(self) -> str | SortedSet | None:
        if len(self._members.scores) < self._count:
            # A member came twice.
            return None
        return self._members if self._count > LISTPACK_MEMBERS else _loaded(*self._members.slice(0, self._count))

    def pieces(self) -> Iterator[bytes]:
        return pairs_pieces(self._members.chunks())


def _begin_long(opening: bytes, expires_at_ms: int | None) -> LongPairs:
    return LongPairs(opening, expires_at_ms, _Builder())


def _load(dump_type: int, body: bytes, max_bytes: int) -> Value:
    return _loaded(*rdb.read_zset(dump_type, body, max_bytes))


def _load_long(body: Body, max_bytes: int) -> Steps[Value]:
    chunks: list[tuple[list[bytes], list[float]]] = []
    last: list[tuple[float, bytes]] = []
    # Redis writes the greatest first.
    is_descending = True
    for members, scores in zset_chunks(body, max_bytes):
        pairs = [*last, *zip(scores, members, strict=True)]
        is_descending = is_descending and all(map(gt, pairs, islice(pairs, 1, None)))
        last = pairs[-1:]
        chunks.append((members, scores))
        yield
    made, count = SortedSet((), is_listpack=False), 0
    while chunks:
        members, scores = chunks.pop()
        count += len(members)
        if is_descending:
            made.load(members[::-1], scores[::-1])
        else:
            for member, score in zip(members, scores, strict=True):
                made.add(member, score)
        yield
    rdb.check_members(made.scores, count)
    return made if count > LISTPACK_MEMBERS else _loaded(*made.slice(0, count))


class SortedSetKind(Collection):
    """A sorted set. A payload holds it as an array of pairs, each of a member, named as a key is, and its score.

    The pairs stand in ascending order. A score is a float as `json` writes it; an infinity is a string.
    """

    name = "zset"
    types = (SortedSet,)
    mark = MARK
    forms: Mapping[str, Form] = {TAG: Form(_read, _begin_long)}
    loads: Mapping[int, Load] = {
        dump_type: Load(
            shape,
            partial(_load, dump_type),
            _load_long if dump_type in LONG_ZSETS else None,
            MARK.encode() + rdb.FORMS[dump_type],
        )
        for dump_type, shape in rdb.ZSET_TYPES.items()
    }

    def encoding(self, value: str | SortedSet) -> bytes:
        return b"skiplist" if isinstance(value, SortedSet) and not value.is_listpack else b"listpack"

    def json(self, value: str | SortedSet) -> tuple[str, bytes]:
        return TAG, b"".join(pairs_pieces((members_of(value) or Small({})).chunks()))

    def json_steps(self, value: str | SortedSet) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        return TAG, pairs_pieces((members_of(value) or Small({})).chunks())

    def dump(self, value: str | SortedSet) -> bytes:
        return rdb.write_zset(
            rdb.ZSET_LISTPACK if self.encoding(value) == b"listpack" else rdb.ZSET_2, members_of(value) or ()
        )

    def rdb(self, value: str | SortedSet, *, has_modules: bool) -> Iterator[bytes]:
        if isinstance(value, str):
            return iter([self.dump(value)])
        return zset_in_pieces(len(value.scores), value.backwards())

    def digest(self, value: str | SortedSet, digest: bytes) -> bytes:
        of_members = (mix(EMPTY, (member, b"%.17g" % score)) for member, score in members_of(value) or ())
        return join(mix(digest, (ZSET_TYPE,)), of_members)

    def python(self, value: str | SortedSet) -> dict[str | bytes, float]:
        return {as_text(member): score for member, score in members_of(value) or ()}

    def elements(self, value: str | SortedSet) -> Elements:
        members = members_of(value) or ()
        # Redis makes a skip list of what it sorts.
        converted = None if self.encoding(value) == b"skiplist" else SortedSet(members, is_listpack=False)
        return Elements([member for member, _ in members], has_order=True, converted=converted)


SORTED_SET: Final = SortedSetKind()
