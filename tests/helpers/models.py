"""What commands make of values of all types, said a second time: by Python's own types and the standard library's json.

Nothing of kvserver is in it but the type of a document, so that it can't share a mistake with it. It knows the commands that
`random_call` draws, and those that they are recorded as. Values are replaced, never changed, so that a copy of the dict that
holds them is a snapshot.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple

from helpers.document_models import ERROR, DocumentModel
from helpers.documents import as_json_text, is_utf8, tagged_name
from kvserver.formats.codec import JSONText


class Scores(dict[bytes, float]):
    """The members of a sorted set, each with its score."""


class Timed(NamedTuple):
    """The value of a field of a hash, and its expiry (Unix milliseconds). That of a field without one is bytes."""

    value: bytes
    expires_at_ms: int


class Group(NamedTuple):
    """A consumer group: the last id, and the number of entries up to it, if that is known.

    Each consumer was seen at a time (Unix milliseconds). Each pending entry has a consumer, a time, a number of deliveries.
    """

    last: str
    read: int | None
    consumers: Mapping[bytes, int]
    pending: Mapping[str, tuple[bytes, int, int]]


class Log(NamedTuple):
    """A stream: its entries, each with fields and values in turn; the last id, the count, the greatest id that was deleted.

    It has groups by their names.
    """

    entries: tuple[tuple[tuple[int, int], tuple[bytes, ...]], ...] = ()
    last: tuple[int, int] = (0, 0)
    added: int = 0
    deleted: tuple[int, int] = (0, 0)
    groups: Mapping[bytes, Group] = {}


class Held(NamedTuple):
    """A value and its expiry (Unix milliseconds), or None."""

    value: Any
    expires_at_ms: int | None = None


State = dict[bytes, Held]
# The state of each database, by its number.
Data = dict[int, State]


class Refused(Exception):
    """The command changes nothing, since it is wrong here."""


_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,17}")

# --- What random commands are made of ---

MEMBERS = (b"a", b"b", b"c", b"\0", b"\xff", b"$kvs:x", 'é\\"'.encode(), *(b"m%d" % number for number in range(9)))
SCORES = (b"0", b"1", b"1", b"-2", b"0.1", b"3e21", b"inf", b"-inf", b"17")
DOCUMENTS = (
    *("7", "true", "null", '"text"', "[]", "[1,[2.5,3],[]]", '{"$kvs":0}', '{"a":1,"b":{"a":[4]}}', '{"a":{"b":"x","c":[]}}'),
    *('[{"a":{"b":true}},["y"]]', '{"a":[true,-0.5,1e300],"é":{"a":null}}'),
)
PATHS = ("$", "$", "$.a", "$.*", "$..a", "$..[0]", "$.a.b", "$[-1]")
JSON_NAMES = (
    *("SET", "MERGE", "DEL", "CLEAR", "NUMINCRBY", "TOGGLE", "STRAPPEND"),
    *("ARRAPPEND", "ARRINSERT", "ARRPOP", "ARRTRIM"),
)
# Each row is as likely as the others, of those with keys of types that are asked for.
_ROWS = [
    row.split()
    for row in """
        HSET h member value
        HSET h member value
        HSET h member value member value member value member value
        HSETNX h member value
        HDEL h member member
        HINCRBY h number-field number
        LPUSH l value
        RPUSH l value
        RPUSH l member member value member member
        LPUSHX l value
        LPOP l
        RPOP l
        LPOP l count
        RPOP l count
        LSET l index value
        LREM l index member
        LTRIM l index index
        LINSERT l BEFORE member value
        LMOVE l l LEFT RIGHT
        RPOPLPUSH l l
        LMPOP 2 l l RIGHT COUNT 2
        SADD s member member value
        SADD s member member member member
        SADD s value
        SREM s member member
        SPOP s
        SPOP s count
        SMOVE s s member
        SUNIONSTORE s s s
        SINTERSTORE s s s
        SDIFFSTORE s s s
        ZADD z score value
        ZADD z score member score member score member
        ZADD z score member
        ZINCRBY z number member
        ZREM z member member
        ZPOPMIN z
        ZPOPMAX z count
        ZMPOP 2 z z MIN COUNT 2
        ZREMRANGEBYRANK z index index
        ZUNIONSTORE z 2 z z
        ZRANGESTORE z z 0 index
        XADD x 9-* member value
        XADD x 9-* member value value value
        XADD x MAXLEN count 8-* member value
        XDEL x entry entry
        XTRIM x MAXLEN count
        XSETID x entry
        APPEND b value
        SETRANGE b offset member
        SETBIT b offset bit
        INCRBY b number
        GETDEL b
        HSET t field value number-field number
        HSET t field value field value field value
        HPEXPIREAT t time FIELDS 2 field field
        HPEXPIREAT t time FIELDS 3 field field number-field
        HPEXPIREAT t 1 FIELDS 1 field
        HPERSIST t FIELDS 2 field number-field
        HINCRBY t number-field number
        HSETNX t field value
        HDEL t field
        JSON.SET j $ document
        JSON.SET j $ document
        JSON.SET j path document
        JSON.MERGE j path document
        JSON.DEL j path
        JSON.DEL j path
        JSON.CLEAR j path
        JSON.NUMINCRBY j path number
        JSON.TOGGLE j path
        JSON.STRAPPEND j path "more"
        JSON.ARRAPPEND j path document document
        JSON.ARRPOP j path index
        JSON.ARRINSERT j path 0 document
        JSON.ARRTRIM j path index index
        DEL any
        RENAME any any
        COPY any any REPLACE
        COPY any any REPLACE
        PERSIST any
    """.strip().splitlines()
]
_WORDS: dict[str, Callable[[Random], bytes]] = {
    "member": lambda rng: rng.choice(MEMBERS),
    "score": lambda rng: rng.choice(SCORES),
    "field": lambda rng: rng.choice((b"n1", b"a", b"b", b"\xff")),
    "number-field": lambda rng: rng.choice((b"n1", b"n2")),
    "number": lambda rng: b"%d" % rng.randint(-3, 3),
    "index": lambda rng: b"%d" % rng.randint(-4, 4),
    "count": lambda rng: b"%d" % rng.randint(0, 4),
    "entry": lambda rng: b"%d-%d" % (rng.choice((8, 9, 9)), rng.randint(0, 12)),
    "offset": lambda rng: b"%d" % rng.choice((0, 1, 7, 64, 3000)),
    "bit": lambda rng: b"%d" % rng.randint(0, 1),
    "time": lambda rng: b"%d" % (9_000_000_000_000 + rng.randrange(9)),
    "document": lambda rng: rng.choice(DOCUMENTS).encode(),
    "path": lambda rng: rng.choice(PATHS).encode(),
}
# The letters of keys in rows.
_LETTERS = frozenset("bhjlstxz")
# Commands whose effect is random. What they do is what they are recorded as.
RANDOM = frozenset((b"SPOP",))


def random_call(rng: Random, keys: Mapping[str, Sequence[bytes]], value: Callable[[], bytes]) -> list[bytes]:
    """A random write to collections. `keys` has those of each type, by the first letter of its commands, and `any`.

    `value` makes the words that may be any string. Nothing is drawn for types that `keys` hasn't.
    """
    return draw(rng, rng.choice(_rows_for(frozenset(keys))), keys, {"value": value})


def draw(
    rng: Random, row: list[str], keys: Mapping[str, Sequence[bytes]], makers: Mapping[str, Callable[[], bytes]]
) -> list[bytes]:
    """A random call as a row says it: words of `keys` and `makers` stand for one of those, others for themselves."""
    request: list[bytes] = []
    for word in row:
        if word in keys:
            request.append(rng.choice(keys[word if rng.random() < 0.95 else "any"]))
        elif word in makers:
            request.append(makers[word]())
        else:
            make = _WORDS.get(word)
            request.append(make(rng) if make else word.encode())
    return request


@cache
def _rows_for(known: frozenset[str]) -> list[list[str]]:
    return [row for row in _ROWS if known.issuperset(_LETTERS.intersection(row))]


# --- What the commands do ---


def apply(state: State, request: list[bytes]) -> None:
    """Do to a state what a command does. Refused, with the state as it was, where the command fails. No key is ever due."""
    _COMMANDS[request[0].upper()](state, *request[1:])


def apply_in(data: Data, number: int, request: list[bytes]) -> None:
    """Do to databases what a command does in the one of this number. Refused, with the data as it was, where it fails."""
    state = data.setdefault(number, {})
    match request:
        case [b"FLUSHALL"]:
            data.clear()
        case [b"FLUSHDB"]:
            state.clear()
        case [b"SWAPDB", one, other]:
            first, second = data.pop(int(one), {}), data.pop(int(other), {})
            data[int(one)], data[int(other)] = second, first
        case [b"MOVE", key, other]:
            target = data.setdefault(int(other), {})
            if key in state and key not in target:
                target[key] = state.pop(key)
        case [b"COPY", source, destination, b"DB", other, b"REPLACE"]:
            if source in state:
                data.setdefault(int(other), {})[destination] = state[source]
        case _:
            apply(state, request)


def copied(data: Data) -> Data:
    """A snapshot of data, which stays as it is."""
    return {number: {**state} for number, state in data.items()}


def _find(state: State, key: bytes, type_: type) -> Any:
    """The value of a key, or an empty one."""
    held = state.get(key)
    if held is None:
        return type_()
    if type(held.value) is not type_:
        raise Refused
    return held.value


def _keep(state: State, key: bytes, value: Any) -> None:
    """Let a key have a value that was changed. Its expiry stays."""
    if value:
        state[key] = Held(value, state[key].expires_at_ms if key in state else None)
    else:
        state.pop(key, None)


def _put(state: State, key: bytes, value: Any) -> None:
    if value:
        state[key] = Held(value)
    else:
        state.pop(key, None)


def _set(state: State, key: bytes, value: bytes, option: bytes = b"", time: bytes = b"") -> None:
    assert option in (b"", b"PXAT")
    state[key] = Held(value, int(time) if option else None)


def _keep_string(state: State, key: bytes, value: bytes) -> None:
    """Let a key have a string that was changed. Its expiry stays, and so does an empty string."""
    state[key] = Held(value, state[key].expires_at_ms if key in state else None)


def _append(state: State, key: bytes, more: bytes) -> None:
    _keep_string(state, key, _find(state, key, bytes) + more)


def _setrange(state: State, key: bytes, offset: bytes, part: bytes) -> None:
    value, start = _find(state, key, bytes), int(offset)
    _keep_string(state, key, value[:start].ljust(start, b"\0") + part + value[start + len(part) :])


def _setbit(state: State, key: bytes, offset: bytes, bit: bytes) -> None:
    place, mask = int(offset) // 8, 0x80 >> int(offset) % 8
    value = _find(state, key, bytes).ljust(place + 1, b"\0")
    byte = value[place] & ~mask | mask * int(bit)
    _keep_string(state, key, value[:place] + bytes((byte,)) + value[place + 1 :])


def _incrby(state: State, key: bytes, increment: bytes) -> None:
    present = state[key].value if key in state else b"0"
    # A document that is a number is counted up, and stays one.
    if not isinstance(present, bytes) or not _INTEGER.fullmatch(present):
        raise Refused
    _keep_string(state, key, type(present)(b"%d" % (int(present) + int(increment))))


def _getdel(state: State, key: bytes) -> None:
    # A document is read as its text.
    if key in state and not isinstance(state[key].value, bytes):
        raise Refused
    state.pop(key, None)


def _json(name: str, state: State, key: bytes, path: bytes, *words: bytes) -> None:
    """What a JSON command makes of a document. A string is one, too."""
    held = state.get(key)
    args = [json.loads(word) for word in words]
    if held is None:
        if name not in ("SET", "MERGE") or path != b"$":
            raise Refused
        state[key] = Held(_document(args[0]))
        return
    if type(held.value) not in (bytes, JSONText):
        raise Refused
    if path == b"$" and name == "DEL":
        del state[key]
        return
    if path == b"$" and name == "SET":
        state[key] = Held(_document(args[0]), held.expires_at_ms)
        return
    if type(held.value) is bytes and not is_utf8(held.value):
        raise Refused
    model = DocumentModel(held.value.decode() if type(held.value) is bytes else json.loads(held.value))
    if model.call(name, path.decode(), *args) == ERROR:
        raise Refused
    state[key] = Held(_document(model.root), held.expires_at_ms)


def _document(root: Any) -> bytes:
    return root.encode() if isinstance(root, str) else as_json_text(root)


def _del(state: State, *keys: bytes) -> None:
    for key in keys:
        state.pop(key, None)


def _rename(state: State, old: bytes, new: bytes) -> None:
    if old not in state:
        raise Refused
    state[new] = state.pop(old)


def _copy(state: State, source: bytes, destination: bytes, replace: bytes) -> None:
    if source == destination:
        raise Refused
    if source in state:
        state[destination] = state[source]


def _expire(state: State, key: bytes, time: bytes | None = None) -> None:
    if key in state:
        state[key] = Held(state[key].value, int(time) if time else None)


def _hset(state: State, key: bytes, *words: bytes) -> None:
    _keep(state, key, _find(state, key, dict) | dict(zip(words[::2], words[1::2], strict=True)))


def _hsetnx(state: State, key: bytes, field: bytes, value: bytes) -> None:
    _keep(state, key, {field: value} | _find(state, key, dict))


def _hdel(state: State, key: bytes, *fields: bytes) -> None:
    _keep(state, key, {field: value for field, value in _find(state, key, dict).items() if field not in fields})


def _hincrby(state: State, key: bytes, field: bytes, increment: bytes) -> None:
    fields = _find(state, key, dict)
    held = fields.get(field, b"0")
    if not _INTEGER.fullmatch(present := _text_of(held)):
        raise Refused
    changed = b"%d" % (int(present) + int(increment))
    _keep(state, key, fields | {field: held._replace(value=changed) if isinstance(held, Timed) else changed})


def _text_of(held: bytes | Timed) -> bytes:
    return held.value if isinstance(held, Timed) else held


def _hpexpireat(state: State, key: bytes, time: bytes, _fields: bytes, _number: bytes, *named: bytes) -> None:
    fields = {**_find(state, key, dict)}
    for field in fields.keys() & {*named}:
        fields[field] = Timed(_text_of(fields[field]), int(time))
    # A time that has passed long ago deletes at once.
    _keep(state, key, {field: held for field, held in fields.items() if not _is_due(held, 1)})


def _hpersist(state: State, key: bytes, _fields: bytes, _number: bytes, *named: bytes) -> None:
    fields = _find(state, key, dict)
    _keep(state, key, fields | {field: _text_of(fields[field]) for field in fields.keys() & {*named}})


def _lpush(state: State, key: bytes, *elements: bytes) -> None:
    _keep(state, key, [*elements[::-1], *_find(state, key, list)])


def _rpush(state: State, key: bytes, *elements: bytes) -> None:
    _keep(state, key, [*_find(state, key, list), *elements])


def _lpushx(state: State, key: bytes, element: bytes) -> None:
    if key in state:
        _lpush(state, key, element)


def _lpop(state: State, key: bytes, count: bytes = b"1") -> None:
    _keep(state, key, _find(state, key, list)[int(count) :])


def _rpop(state: State, key: bytes, count: bytes = b"1") -> None:
    elements = _find(state, key, list)
    _keep(state, key, elements[: max(0, len(elements) - int(count))])


def _lset(state: State, key: bytes, index: bytes, element: bytes) -> None:
    elements = [*_find(state, key, list)]
    if not -len(elements) <= int(index) < len(elements):
        raise Refused
    elements[int(index)] = element
    _keep(state, key, elements)


def _lrem(state: State, key: bytes, count: bytes, element: bytes) -> None:
    elements = _find(state, key, list)
    places = [place for place, each in enumerate(elements) if each == element]
    number = int(count)
    gone = places[:number] if number > 0 else places[number:]
    _keep(state, key, [each for place, each in enumerate(elements) if place not in gone])


def _ltrim(state: State, key: bytes, start: bytes, stop: bytes) -> None:
    elements = _find(state, key, list)
    first, last = (number + len(elements) if (number := int(text)) < 0 else number for text in (start, stop))
    _keep(state, key, elements[max(0, first) : max(0, last + 1)])


def _linsert(state: State, key: bytes, where: bytes, pivot: bytes, element: bytes) -> None:
    elements = _find(state, key, list)
    assert where == b"BEFORE"
    if pivot in elements:
        place = elements.index(pivot)
        _keep(state, key, [*elements[:place], element, *elements[place:]])


def _lmove(state: State, source: bytes, destination: bytes, source_end: bytes = b"RIGHT", end: bytes = b"LEFT") -> None:
    elements = _find(state, source, list)
    if not elements:
        return
    _find(state, destination, list)
    element = elements[0] if source_end == b"LEFT" else elements[-1]
    if source == destination:
        rest = elements[1:] if source_end == b"LEFT" else elements[:-1]
        _keep(state, source, [element, *rest] if end == b"LEFT" else [*rest, element])
        return
    (_lpop if source_end == b"LEFT" else _rpop)(state, source)
    (_lpush if end == b"LEFT" else _rpush)(state, destination, element)


def _pop_first(pop: Callable[..., None], type_: type) -> Callable[..., None]:
    """A pop from the first of some keys that is there."""

    def pop_first(state: State, number: bytes, *words: bytes) -> None:
        for key in words[: int(number)]:
            if _find(state, key, type_):
                pop(state, key, words[-1])
                return

    return pop_first


def _sadd(state: State, key: bytes, *members: bytes) -> None:
    _keep(state, key, _find(state, key, set) | {*members})


def _srem(state: State, key: bytes, *members: bytes) -> None:
    _keep(state, key, _find(state, key, set) - {*members})


def _smove(state: State, source: bytes, destination: bytes, member: bytes) -> None:
    if source not in state:
        return
    members = _find(state, source, set)
    _find(state, destination, set)
    if member in members and source != destination:
        _srem(state, source, member)
        _sadd(state, destination, member)


def _stored(combine: Callable[..., set[bytes]]) -> Callable[..., None]:
    def store(state: State, destination: bytes, *sources: bytes) -> None:
        _put(state, destination, combine(*(_find(state, key, set) for key in sources)))

    return store


def _zadd(state: State, key: bytes, *words: bytes) -> None:
    scores = Scores(_find(state, key, Scores))
    scores.update(zip(words[1::2], map(float, words[::2]), strict=True))
    _keep(state, key, scores)


def _zincrby(state: State, key: bytes, increment: bytes, member: bytes) -> None:
    scores = Scores(_find(state, key, Scores))
    scores[member] = scores.get(member, 0.0) + float(increment)
    _keep(state, key, scores)


def _zrem(state: State, key: bytes, *members: bytes) -> None:
    scores = _find(state, key, Scores)
    _keep(state, key, Scores({member: score for member, score in scores.items() if member not in members}))


def _ranked(scores: Scores) -> list[bytes]:
    return sorted(scores, key=lambda member: (scores[member], member))


def _slice(start: bytes, stop: bytes, length: int) -> slice:
    first, last = (number + length if (number := int(text)) < 0 else number for text in (start, stop))
    return slice(max(0, first), max(0, last + 1))


def _zpopmin(state: State, key: bytes, count: bytes = b"1") -> None:
    _zrem(state, key, *_ranked(_find(state, key, Scores))[: int(count)])


def _zpopmax(state: State, key: bytes, count: bytes = b"1") -> None:
    _zrem(state, key, *_ranked(_find(state, key, Scores))[::-1][: int(count)])


def _zremrangebyrank(state: State, key: bytes, start: bytes, stop: bytes) -> None:
    ranked = _ranked(_find(state, key, Scores))
    _zrem(state, key, *ranked[_slice(start, stop, len(ranked))])


def _scored(state: State, key: bytes) -> Scores:
    """A sorted set, or a set, whose members count 1 each."""
    held = state.get(key)
    return Scores(dict.fromkeys(held.value, 1.0)) if held and type(held.value) is set else _find(state, key, Scores)


def _zunionstore(state: State, destination: bytes, number: bytes, *sources: bytes) -> None:
    union = Scores()
    for source in [_scored(state, key) for key in sources]:
        for member, score in source.items():
            total = union[member] + score if member in union else score
            # Redis says so of inf and -inf.
            union[member] = 0.0 if math.isnan(total) else total
    _put(state, destination, union)


def _zrangestore(state: State, destination: bytes, source: bytes, start: bytes, stop: bytes) -> None:
    scores = _find(state, source, Scores)
    _put(state, destination, Scores({member: scores[member] for member in _ranked(scores)[_slice(start, stop, len(scores))]}))


def _xadd(state: State, key: bytes, *words: bytes) -> None:
    log = _find(state, key, Log)
    length = None
    if words[0] == b"MAXLEN":
        length, words = words[1], words[2:]
    first, _, second = words[0].partition(b"-")
    sequence = int(second) if second != b"*" else log.last[1] + 1 if int(first) == log.last[0] else 0
    identity = int(first), sequence
    if identity <= log.last:
        raise Refused
    entries = (*log.entries, (identity, words[1:]))
    _keep(state, key, log._replace(entries=entries, last=identity, added=log.added + 1))
    if length is not None:
        _xtrim(state, key, b"MAXLEN", length)


def _xdel(state: State, key: bytes, *ids: bytes) -> None:
    log = _find(state, key, Log)
    gone = {identity for identity, _ in log.entries} & set(map(_entry_id, ids))
    if gone:
        entries = tuple(entry for entry in log.entries if entry[0] not in gone)
        _keep(state, key, log._replace(entries=entries, deleted=max(log.deleted, *gone)))


def _xtrim(state: State, key: bytes, *words: bytes) -> None:
    log, length = _find(state, key, Log), int(words[-1])
    if key in state:
        _keep(state, key, log._replace(entries=log.entries[max(len(log.entries) - length, 0) :]))


def _xsetid(state: State, key: bytes, identity: bytes) -> None:
    log, last = _find(state, key, Log), _entry_id(identity)
    if key not in state or (log.entries and last < log.entries[-1][0]):
        raise Refused
    _keep(state, key, log._replace(last=last))


def _entry_id(text: bytes) -> tuple[int, int]:
    first, _, second = text.partition(b"-")
    return int(first), int(second)


_COMMANDS: dict[bytes, Callable[..., None]] = {
    b"SET": _set,
    b"APPEND": _append,
    b"SETRANGE": _setrange,
    b"SETBIT": _setbit,
    b"INCRBY": _incrby,
    b"GETDEL": _getdel,
    b"DEL": _del,
    b"UNLINK": _del,
    b"FLUSHALL": lambda state: state.clear(),
    b"RENAME": _rename,
    b"COPY": _copy,
    b"PERSIST": _expire,
    b"PEXPIREAT": _expire,
    b"HSET": _hset,
    b"HSETNX": _hsetnx,
    b"HDEL": _hdel,
    b"HINCRBY": _hincrby,
    b"HPEXPIREAT": _hpexpireat,
    b"HPERSIST": _hpersist,
    b"LPUSH": _lpush,
    b"RPUSH": _rpush,
    b"LPUSHX": _lpushx,
    b"LPOP": _lpop,
    b"RPOP": _rpop,
    b"LSET": _lset,
    b"LREM": _lrem,
    b"LTRIM": _ltrim,
    b"LINSERT": _linsert,
    b"LMOVE": _lmove,
    b"RPOPLPUSH": _lmove,
    b"LMPOP": _pop_first(_rpop, list),
    b"SADD": _sadd,
    b"SREM": _srem,
    b"SMOVE": _smove,
    b"SUNIONSTORE": _stored(set.union),
    b"SINTERSTORE": _stored(set.intersection),
    b"SDIFFSTORE": _stored(set.difference),
    b"ZADD": _zadd,
    b"ZINCRBY": _zincrby,
    b"ZREM": _zrem,
    b"ZPOPMIN": _zpopmin,
    b"ZPOPMAX": _zpopmax,
    b"ZMPOP": _pop_first(_zpopmin, Scores),
    b"ZREMRANGEBYRANK": _zremrangebyrank,
    b"ZUNIONSTORE": _zunionstore,
    b"ZRANGESTORE": _zrangestore,
    b"XADD": _xadd,
    b"XDEL": _xdel,
    b"XTRIM": _xtrim,
    b"XSETID": _xsetid,
    **{b"JSON.%b" % name.encode(): partial(_json, name) for name in JSON_NAMES},
}

# --- What goes by itself ---


def living(data: Data, now_ms: int) -> Data:
    """Data without what is due at a time (Unix milliseconds): keys, and fields of hashes, which go with their last field."""
    left: Data = {}
    for number, state in data.items():
        left[number] = {}
        for key, held in state.items():
            value = held.value
            if type(value) is dict:
                value = {field: text for field, text in value.items() if not _is_due(text, now_ms)}
            if value != {} and not _is_due(held, now_ms):
                left[number][key] = held._replace(value=value)
    return left


def _is_due(held: Any, now_ms: int) -> bool:
    expires_at_ms = held.expires_at_ms if isinstance(held, Held | Timed) else None
    return expires_at_ms is not None and expires_at_ms <= now_ms


# --- What stands in a payload ---


def payload(data: Data, libraries: Mapping[bytes, bytes] | None = None) -> bytes:
    """The payload of a server's frame of this data, with these texts of function libraries by their names."""
    members: dict[str, Any] = {
        (f"$kvs:{number}:" if number else "") + tagged_name(key): _tagged(held)
        for number, state in data.items()
        for key, held in state.items()
    }
    if libraries:
        members["$kvs::functions"] = {tagged_name(name): tagged_name(text) for name, text in libraries.items()}
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _tagged(held: Held) -> Any:
    value = held.value
    expiry = {} if held.expires_at_ms is None else {"expires_at_ms": held.expires_at_ms}
    if isinstance(value, Scores):
        pairs = [[tagged_name(member), _score(value[member])] for member in _ranked(value)]
        return {"$kvs": {"zset": pairs, **expiry}}
    if isinstance(value, Log):
        last, deleted = (f"{each[0]}-{each[1]}" for each in (value.last, value.deleted))
        entries = [[f"{identity[0]}-{identity[1]}", *map(tagged_name, row)] for identity, row in value.entries]
        groups = {tagged_name(name): _tagged_group(group) for name, group in value.groups.items()}
        stream = {"added": value.added, "entries": entries, "groups": groups, "last_id": last, "max_deleted_id": deleted}
        return {"$kvs": {"stream": stream, **expiry}}
    if isinstance(value, dict):
        return {"$kvs": {"hash": {tagged_name(field): _tagged_field(text) for field, text in value.items()}, **expiry}}
    if isinstance(value, list):
        return {"$kvs": {"list": [tagged_name(element) for element in value], **expiry}}
    if isinstance(value, set):
        return {"$kvs": {"set": sorted(map(tagged_name, value)), **expiry}}
    if isinstance(value, JSONText):
        document = json.loads(value)
        is_like_tag = isinstance(document, dict) and min(document, default="") == "$kvs"
        return {"$kvs": {"value": document, **expiry}} if expiry or is_like_tag else document
    if not is_utf8(value):
        return {"$kvs": {"base64": b64encode(value).decode(), **expiry}}
    return {"$kvs": {"value": value.decode(), **expiry}} if expiry else value.decode()


def _tagged_field(held: bytes | Timed) -> Any:
    text = tagged_name(_text_of(held))
    return {"expires_at_ms": held.expires_at_ms, "value": text} if isinstance(held, Timed) else text


def _tagged_group(group: Group) -> Any:
    consumers = sorted([tagged_name(name), seen_ms] for name, seen_ms in group.consumers.items())
    pending = [[identity, tagged_name(consumer), *facts] for identity, (consumer, *facts) in group.pending.items()]
    return {"consumers": consumers, "entries_read": group.read, "last_id": group.last, "pending": pending}


def _score(score: float) -> float | str:
    return score if math.isfinite(score) else str(score)
