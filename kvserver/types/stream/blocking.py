"""XREAD: the entries of streams behind ids that the caller knows, for which it may wait."""

from __future__ import annotations

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Block, Effect
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Pairs, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types import timeouts
from kvserver.types.stream.ids import FIRST, Id, after, parse
from kvserver.types.stream.reading import COUNT_OF_WAITERS, items_behind, reply_of, wire_from
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import stream_of
from kvserver.types.stream.wire import map_of_one


@command("xread",
         "COUNT=count:integer? BLOCK=milliseconds:integer? STREAMS=streams{key:key+ id+}",
         "readonly blocking", access="RO access",
         since="5.0.0", group="stream",
         complexity="For each stream mentioned: O(N) with N being the number of elements being returned, it means that "
         "XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in order "
         "to serve the M clients blocked on the stream getting new data.",
         summary="Return never seen elements in multiple streams, with IDs greater than the ones reported by the caller "
         "for each stream. Can block.")  # fmt: skip
def xread(session: Session, request: Request) -> Reply | Effect:
    timeout_ms: int | None = None
    count = 0
    index, last = 1, len(request) - 1
    keys: list[bytes] = []
    while not keys:
        option = request[index].lower() if index <= last else b""
        more = last - index
        if option == b"block" and more:
            timeouts.refuse_in_script(session, request)
            timeout_ms = timeouts.milliseconds(request[index + 1])
        elif option == b"count" and more:
            count = max(integer(request[index + 1]), 0)
        elif option == b"streams" and more:
            if more % 2:
                raise CommandError("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
            keys = request[index + 1 : index + 1 + more // 2]
        elif option == b"group" and more >= 2:
            raise CommandError("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
        elif option == b"noack":
            raise CommandError("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
        else:
            raise CommandError(SYNTAX_ERROR)
        index += 2
    keyspace = session.keyspace
    behind: list[Id] = []
    for key, text in zip(keys, request[-len(keys) :], strict=True):
        stream = stream_of(keyspace.read(key))
        if text == b"$":
            behind.append(stream.last_id if stream else FIRST)
        elif text == b">":
            raise CommandError(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
            )
        else:
            behind.append(parse(text))
    found: list[Reply] = []
    for key, identity in zip(keys, behind, strict=True):
        stream = stream_of(keyspace.read(key))
        if stream and (stream.entries.last() or FIRST) > identity:
            # Measured: what most calls ask, of one stream, takes half the time.
            wire = wire_from(session, stream, after(identity) or FIRST, count) if len(keys) == 1 else None
            if wire is not None:
                return map_of_one(key, wire, session.protocol)
            found.append([key, reply_of(items_behind(stream, identity, count))])
    if found:
        return Pairs(found)
    if timeout_ms is None:
        return NULL_ARRAY
    # As in Redis, the first one counts where a key comes twice.
    awaited = dict(zip(reversed(keys), reversed(behind), strict=True))
    added = {key: stream.added for key in keys if (stream := stream_of(keyspace.live(key)))}

    def attempt(key: bytes) -> Reply:
        # SWAPDB may have given the session another keyspace.
        value = session.keyspace.live(key)
        if not isinstance(value, Stream) or value.last_id <= awaited[key]:
            return None
        items = items_behind(value, awaited[key], count or COUNT_OF_WAITERS)
        # As in Redis, what was added and has gone again gives an empty reply, but XSETID alone gives none.
        return Pairs([[key, reply_of(items)]]) if items or value.added != added.get(key, 0) else None

    return Block(keys, timeout_ms, attempt, NULL_ARRAY)
