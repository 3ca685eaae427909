"""What a client reads of a key, in the terms of the models: the value of any type, and all that expires."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from helpers.models import Group, Held, Log, Scores, Timed
from helpers.servers import Wire
from kvserver.formats.codec import JSONText

NEVER = -1


def read_held(wire: Wire, key: bytes, *before: bytes | str | int) -> Held | None:
    """The value of a key of the selected database, and its expiry. `before` are words in front of each command, as KVS.AT."""
    type_ = wire.command(*before, "TYPE", key)[1:-2].decode()
    if type_ == "none":
        return None
    expires_at_ms = wire.value(*before, "PEXPIRETIME", key)
    return Held(_READERS[type_](wire, key, before), None if expires_at_ms == NEVER else expires_at_ms)


_Words = tuple[bytes | str | int, ...]


def _hash(wire: Wire, key: bytes, before: _Words) -> dict[bytes, bytes | Timed]:
    words = wire.value(*before, "HGETALL", key)
    fields = dict(zip(words[::2], words[1::2], strict=True))
    times = wire.value(*before, "HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
    return {
        field: text if time == NEVER else Timed(text, time) for (field, text), time in zip(fields.items(), times, strict=True)
    }


def _zset(wire: Wire, key: bytes, before: _Words) -> Scores:
    words = wire.value(*before, "ZRANGE", key, 0, -1, "WITHSCORES")
    return Scores(zip(words[::2], map(float, words[1::2]), strict=True))


def _stream(wire: Wire, key: bytes, before: _Words) -> Log:
    told = _named(wire.value(*before, "XINFO", "STREAM", key, "FULL", "COUNT", 0))
    entries = tuple((_id(identity), tuple(row)) for identity, row in told[b"entries"])
    groups = {each[b"name"]: _group(each) for each in map(_named, told[b"groups"])}
    last, deleted = _id(told[b"last-generated-id"]), _id(told[b"max-deleted-entry-id"])
    return Log(entries, last, told[b"entries-added"], deleted, groups)


def _group(told: dict[bytes, Any]) -> Group:
    consumers = {each[b"name"]: each[b"seen-time"] for each in map(_named, told[b"consumers"])}
    pending = {row[0].decode(): tuple(row[1:]) for row in told[b"pending"]}
    return Group(told[b"last-delivered-id"].decode(), told[b"entries-read"], consumers, pending)


def _named(words: Iterable[Any]) -> dict[bytes, Any]:
    found = [*words]
    return dict(zip(found[::2], found[1::2], strict=True))


def _id(text: bytes) -> tuple[int, int]:
    first, _, second = text.partition(b"-")
    return int(first), int(second)


_READERS = {
    "string": lambda wire, key, before: wire.value(*before, "GET", key),
    "list": lambda wire, key, before: wire.value(*before, "LRANGE", key, 0, -1),
    "set": lambda wire, key, before: {*wire.value(*before, "SMEMBERS", key)},
    "ReJSON-RL": lambda wire, key, before: JSONText(wire.value(*before, "JSON.GET", key)),
    "hash": _hash,
    "zset": _zset,
    "stream": _stream,
}
