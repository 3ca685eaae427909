"""XINFO: what there is to tell of a stream, of its groups, and of their consumers."""

from __future__ import annotations

from itertools import islice
from typing import Final

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, container, help_lines, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.entries import Entries
from kvserver.types.stream.group import UNKNOWN, Consumer, Delivery, Group, idle_ms, signed
from kvserver.types.stream.ids import text_of
from kvserver.types.stream.lookup import no_such_group
from kvserver.types.stream.progress import lag
from kvserver.types.stream.radix import count_nodes
from kvserver.types.stream.reading import reply_of
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import stream_of

_DEFAULT_COUNT: Final = 10
# To look at so many takes a tenth of a millisecond.
_MOST_KEYS_COUNTED: Final = 100

xinfo = container("xinfo", since="5.0.0", group="stream", summary="A container for stream introspection commands")


def _stream(session: Session, key: bytes) -> Stream:
    stream = stream_of(session.keyspace.read(key))
    if stream is None:
        raise CommandError("ERR no such key")
    return stream


@command("xinfo|stream", "key:key FULL=full{COUNT=count:integer?}?", "readonly", access="RO access",
         since="5.0.0", group="stream", complexity="O(1)",
         summary="Get information about a stream")  # fmt: skip
def xinfo_stream(session: Session, request: Request) -> Reply:
    stream = _stream(session, request[2])
    options = request[3:]
    is_full = len(options) > 0
    count = _DEFAULT_COUNT
    if is_full:
        if len(options) not in (1, 3) or options[0].upper() != b"FULL":
            raise wrong_subcommand(request)
        if len(options) > 1:
            if options[1].upper() != b"COUNT":
                raise wrong_subcommand(request)
            count = integer(options[2])
            count = _DEFAULT_COUNT if count < 0 else count
    entries = stream.entries
    told: dict[Reply, Reply] = {
        b"length": stream.length,
        b"radix-tree-keys": entries.node_count,
        b"radix-tree-nodes": _radix_nodes(entries),
        b"last-generated-id": text_of(stream.last_id),
        b"max-deleted-entry-id": text_of(stream.max_deleted_id),
        b"entries-added": signed(stream.added),
        b"recorded-first-entry-id": text_of(stream.first_id),
    }
    if is_full:
        told[b"entries"] = reply_of(entries.range(count=count or -1))
        told[b"groups"] = [_whole_group(stream, name, group, count) for name, group in stream.groups.in_order()]
    else:
        told[b"groups"] = len(stream.groups)
        told[b"first-entry"] = next(iter(reply_of(entries.range(count=1))), None)
        told[b"last-entry"] = next(iter(reply_of(entries.range(count=1, is_backward=True))), None)
    return told


def _radix_nodes(entries: Entries) -> int:
    """The number of nodes of Redis's radix tree: where there are many keys, it is estimated by the first ones."""
    seen = min(entries.node_count, _MOST_KEYS_COUNTED)
    nodes = count_nodes(node.first for node in islice(entries.nodes(), seen))
    return nodes * entries.node_count // seen if seen else nodes


def _progress(stream: Stream, group: Group) -> dict[Reply, Reply]:
    return {
        b"last-delivered-id": text_of(group.last_id),
        b"entries-read": None if group.entries_read == UNKNOWN else group.entries_read,
        b"lag": lag(stream, group),
    }


def _whole_group(stream: Stream, name: bytes, group: Group, count: int) -> Reply:
    """A group with its pending entries and its consumers; no more than so many entries of each, unless the count is 0."""
    pending: list[Reply] = []
    for milliseconds, sequence, consumer, time_ms, deliveries in islice(group.pending.rows(), count or None):
        pending.append([b"%d-%d" % (milliseconds, sequence), consumer, time_ms, signed(deliveries)])
    consumers = [_whole_consumer(group, consumer, count) for _, consumer in group.consumers.in_order()]
    return {
        b"name": name,
        **_progress(stream, group),
        b"pel-count": len(group.pending),
        b"pending": pending,
        b"consumers": consumers,
    }


def _whole_consumer(group: Group, consumer: Consumer, count: int) -> Reply:
    pending: list[Reply] = []
    for identity in islice(consumer.ids.rows(), count or None):
        delivery = group.delivery((identity[0], identity[1]))
        assert isinstance(delivery, Delivery)
        pending.append([b"%d-%d" % identity, delivery.time_ms, signed(delivery.number)])
    return {
        b"name": consumer.name,
        b"seen-time": consumer.seen_ms,
        b"pel-count": len(consumer.ids),
        b"pending": pending,
    }


@command("xinfo|groups", "key:key", "readonly", access="RO access",
         since="5.0.0", group="stream", complexity="O(1)",
         summary="List the consumer groups of a stream")  # fmt: skip
def xinfo_groups(session: Session, request: Request) -> Reply:
    stream = _stream(session, request[2])
    return [
        {
            b"name": name,
            b"consumers": len(group.consumers),
            b"pending": len(group.pending),
            **_progress(stream, group),
        }
        for name, group in stream.groups.in_order()
    ]


@command("xinfo|consumers", "key:key groupname", "readonly", access="RO access",
         since="5.0.0", group="stream", complexity="O(1)",
         tips="nondeterministic_output",
         summary="List the consumers in a consumer group")  # fmt: skip
def xinfo_consumers(session: Session, request: Request) -> Reply:
    group = _stream(session, request[2]).groups.get(request[3])
    if group is None:
        raise no_such_group(request[2], request[3])
    now_ms = session.keyspace.now_ms()
    return [
        {b"name": name, b"pending": len(consumer.ids), b"idle": max(idle_ms(now_ms, consumer.seen_ms), 0)}
        for name, consumer in group.consumers.in_order()
    ]


HELP = """CONSUMERS <key> <groupname>
    Show consumers of <groupname>.
GROUPS <key>
    Show the stream consumer groups.
STREAM <key> [FULL [COUNT <count>]
    Show information about the stream."""


@command("xinfo|help", "", "loading stale",
         since="5.0.0", group="stream", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def xinfo_help(session: Session, request: Request) -> Reply:
    return help_lines("XINFO", HELP)
