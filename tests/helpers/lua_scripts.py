"""Commands that run random scripts (lua_grammar): by EVAL and its kin, as functions, in transactions; some are broken.

Pure: this knows no socket and no server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from helpers.lua_grammar import script
from helpers.random_commands import Words

_T = TypeVar("_T")

# It tells what the database holds. A hash has few fields and a set has numbers, so that their order is the same everywhere.
_STATE = """
local held = {}
local readers = {
  string = {'get'}, hash = {'hgetall'}, list = {'lrange', 0, -1}, set = {'smembers'}, stream = {'xrange', '-', '+'},
  zset = {'zrange', 0, -1, 'withscores'},
}
for _, key in ipairs(KEYS) do
  local kind = redis.call('type', key).ok
  local reader = readers[kind]
  held[#held + 1] = {key, kind, redis.call('ttl', key) > 0, reader and redis.call(reader[1], key, unpack(reader, 2))}
end
return {held, redis.call('dbsize')}
"""
STATE: Words = (b"EVAL", _STATE.encode(), b"11", *(b"s", b"n", b"h", b"l", b"z", b"i", b"t", b"p", b"g", b"i2", b"none"))

_KEYS = ((b"s", b"n"), (b"n",), (b"h", b"s"), (b"l", b"z"), (b"z",), (b"t", b"l"), (b"i", b"h"), (b"none",), ())
_ARGUMENTS = (
    (b"v",),
    (b"1", b"x"),
    (b"10", b"20", b"30"),
    (b"",),
    (),
    (b"1.5",),
    (b"-1", b"\x00\xff", b"a b"),
    (b"hello", b"3"),
)
_HEADS = (
    *("#!lua", "#!lua flags=no-writes", "#!lua flags=allow-oom,no-cluster", "#!lua flags=allow-stale", "#!lua flags="),
    *("#!lua flags=nope", "#!lua name=x", "#!python", "#!", "#!lua flags=allow-cross-slot-keys"),
)
_FLAGS = (
    "",
    ", flags = {'no-writes'}",
    ", flags = {'no-writes'}",
    ", flags = {'allow-oom', 'allow-stale'}",
    ", description = 'x'",
    ", flags = {'nope'}",
)
_JUNK = ("", "", " end", " 'x", " = 1", " return", " x y", " [=[", " ..", " local", "\n@")
_LIBRARY_AT_THE_END = re.compile(r"\b(redis|string|table|math|bit|cjson|cmsgpack|struct|coroutine)$")


class Drawing:
    """Commands that run random scripts, for servers that have run nothing since they were reset."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._random = rng.random
        self._bodies: list[bytes] = []

    def runs(self, count: int) -> Iterator[tuple[Words, ...]]:
        """So many commands that run a script each, with those that belong to each of them, and libraries of functions."""
        for number in range(count):
            if number % 25 == 0:
                yield (self._library(),)
            yield self._run()

    def _run(self) -> tuple[Words, ...]:
        drawn = self._random()
        if drawn < 0.7:
            return (self._eval(b"EVAL", self._body()),)
        if drawn < 0.85:
            name = b"f%d" % (self._rng.randrange(4) if self._random() < 0.99 else 5)
            return ((self._choice((b"FCALL", b"FCALL", b"FCALL_RO")), name, *self._words()),)
        if drawn < 0.88:
            return (self._eval(b"EVAL_RO", self._body()),)
        if drawn < 0.91:
            head = self._choice(_HEADS).encode()
            return (self._eval(b"EVAL", head + b"\n" + self._body()),)
        if drawn < 0.95 and self._bodies:
            sha = hashlib.sha1(self._choice(self._bodies)).hexdigest().encode()
            return ((self._choice((b"EVALSHA", b"EVALSHA", b"EVALSHA_RO")), sha, *self._words()),)
        if drawn < 0.96:
            body = self._body()
            sha = hashlib.sha1(body).hexdigest().encode()
            return ((b"SCRIPT", b"EXISTS", sha), (b"SCRIPT", b"LOAD", body), (b"EVALSHA", sha, *self._words()))
        if drawn < 0.98:
            return (self._eval(b"EVAL", self._broken(script(self._random)).encode()),)
        others = [self._eval(b"EVAL", self._body()), (b"GET", b"s")]
        return ((b"MULTI",), *others, (b"EXEC",))

    def _choice(self, items: Sequence[_T]) -> _T:
        return items[int(self._random() * len(items))]

    def _body(self) -> bytes:
        body = script(self._random).encode()
        self._bodies.append(body)
        return body

    def _broken(self, text: str) -> str:
        """A text that ends early or has something behind its end. If it runs, it does what a part of it does, and no more."""
        start = text[: self._rng.randrange(len(text) + 1)]
        # A library itself is no table in kvserver, which its length or sending it would tell.
        return _LIBRARY_AT_THE_END.sub(r"\g<0>.", start) + self._choice(_JUNK)

    def _eval(self, name: bytes, body: bytes) -> Words:
        return (name, body, *self._words())

    def _words(self) -> Words:
        keys, arguments = self._choice(_KEYS), self._choice(_ARGUMENTS)
        if self._random() < 0.01:
            return (self._choice((b"9", b"-1", b"x", b"1.0", b"00", b"")), *keys, *arguments)
        return (b"%d" % len(keys), *keys, *arguments)

    def _library(self) -> Words:
        lines = ["#!lua name=lib"]
        for number in range(4):
            body = f"function(KEYS, ARGV) {script(self._random)}\nend"
            if number % 2:
                lines.append(f"redis.register_function('f{number}', {body})")
            else:
                flags = self._choice(_FLAGS) if self._random() < 0.7 else ""
                lines.append(f"redis.register_function{{function_name = 'f{number}', callback = {body}{flags}}}")
        text = "\n".join(lines)
        if self._random() < 0.05:
            text = self._broken(text)
        return (b"FUNCTION", b"LOAD", b"REPLACE", text.encode())
