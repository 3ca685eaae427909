"""SCAN, KEYS, RANDOMKEY, DBSIZE: keys are found and counted, and no value is stored. The walk itself is `data.walk`."""

from __future__ import annotations

from kvserver import patterns as glob
from kvserver.data import walk
from kvserver.data.entries import Expiring
from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import cursor_of
from kvserver.dispatch.command import command
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.scanning import DEFAULT_COUNT, count_of


@command("scan", "cursor:integer MATCH=pattern:pattern? COUNT=count:integer? TYPE=type?@6.0.0", "readonly",
         numbers={"COUNT": count_of},
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
    if pattern is not None and pattern != glob.EVERYTHING:
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
        found += some if pattern == glob.EVERYTHING else filter(matches, some)
    if keyspace.deadlines.has_any:
        peek, now_ms = keyspace.peek, keyspace.now_ms()
        found = [key for key in found if type(entry := peek(key)) is not Expiring or not entry.is_due(now_ms)]
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
