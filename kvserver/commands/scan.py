"""SCAN, KEYS, RANDOMKEY, DBSIZE: keys are found and counted, and no value is stored. The walk itself is `data.walk`."""

from __future__ import annotations

import re
from typing import Final

from kvserver import patterns as glob
from kvserver.data import walk
from kvserver.data.entries import Expiring
from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

EVERYTHING: Final = b"*"
DEFAULT_COUNT: Final = 10
MAX_CURSOR: Final = 2**64 - 1
# The texts that strtoul takes, but without white space in front. A minus sign negates, modulo 2**64.
_CURSOR = re.compile(rb"([+-]?)([0-9]+)|")


def cursor_of(text: bytes) -> int:
    """The cursor that Redis reads in a text, from 0 to MAX_CURSOR. CommandError if the text is no cursor."""
    # Redis reads the text as a C string, which ends at a NUL.
    match = _CURSOR.fullmatch(text.partition(b"\0")[0])
    number = int(match[2] or 0) if match and len(text) <= 4096 else MAX_CURSOR + 1
    if match is None or number > MAX_CURSOR:
        raise CommandError("ERR invalid cursor")
    return -number % (MAX_CURSOR + 1) if match[1] == b"-" else number


def _count(text: bytes) -> int:
    count = integer(text)
    if count < 1:
        raise CommandError(SYNTAX_ERROR)
    return count


@command("scan", "cursor:integer MATCH=pattern:pattern? COUNT=count:integer? TYPE=type?@6.0.0", "readonly",
         numbers={"COUNT": _count},
         since="2.8.0", group="generic",
         complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
         "return back to 0. N is the number of elements inside the collection.",
         tips="nondeterministic_output request_policy:special",
         summary="Incrementally iterate the keys space")  # fmt: skip
def scan(session: Session, request: Request) -> Reply:
    cursor = cursor_of(request[1])
    options = scan.options(request)
    pattern, kind = options.get("MATCH"), options.get("TYPE")
    keyspace = session.keyspace
    cursor, keys = walk.scan(keyspace, cursor, options.number("COUNT", DEFAULT_COUNT))
    if pattern is not None and pattern != EVERYTHING:
        keys = list(filter(glob.matcher(pattern), keys))
    peek_live = keyspace.peek_live
    if kind is not None:
        wanted = kind.decode("utf-8", "replace").lower()
        keys = [key for key in keys if (value := peek_live(key)) is not None and kind_of(value).name.lower() == wanted]
    else:
        keys = [key for key in keys if peek_live(key) is not None]
    return [b"%d" % cursor, list(keys)]


@command("keys", "pattern:pattern", "readonly",
         since="1.0.0", group="generic",
         complexity="O(N) with N being the number of keys in the database, under the assumption that the key names in the "
         "database and the given pattern have limited length.",
         tips="request_policy:all_shards nondeterministic_output_order", categories="keyspace dangerous",
         summary="Find all keys matching the given pattern")  # fmt: skip
def keys(session: Session, request: Request) -> Reply:
    keyspace, pattern = session.keyspace, request[1]
    if glob.is_literal(pattern):
        return [pattern] if keyspace.peek_live(pattern) is not None else []
    found: list[bytes] = []
    matches = glob.matcher(pattern)
    for some in walk.all_keys(keyspace):
        found += some if pattern == EVERYTHING else filter(matches, some)
    if keyspace.deadlines.has_any:
        peek, now_ms = keyspace.peek, keyspace.now_ms()
        found = [key for key in found if type(entry := peek(key)) is not Expiring or entry.expires_at_ms > now_ms]
    return list(found)


@command("randomkey", "", "readonly",
         since="1.0.0", group="generic", complexity="O(1)", tips="request_policy:all_shards nondeterministic_output",
         summary="Return a random key from the keyspace")  # fmt: skip
def randomkey(session: Session, request: Request) -> Reply:
    return walk.random_key(session.keyspace, session.server.random_below)


@command("dbsize", "", "readonly fast",
         since="1.0.0", group="server", complexity="O(1)", tips="request_policy:all_shards response_policy:agg_sum",
         categories="keyspace",
         summary="Return the number of keys in the selected database")  # fmt: skip
def dbsize(session: Session, request: Request) -> Reply:
    return len(session.keyspace)
