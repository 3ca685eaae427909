"""The line about a client, as CLIENT LIST and the log of denials have it. Pure."""

from __future__ import annotations

from sys import getsizeof

from kvserver.resp.request import request_bytes
from kvserver.state.session import Session


def _flags(session: Session) -> str:
    watches = session.server.watches
    flags = {
        "O": session.id in session.server.monitors,
        "P": session.is_subscriber,
        "x": session.transaction is not None or session.is_executing,
        "b": session.is_blocked or session.is_postponed,
        "t": session.tracker is not None,
        "R": session.tracker is not None and session.tracker.is_broken,
        "B": session.tracker is not None and session.tracker.mode.broadcasts,
        "d": session.watch is not None and watches.is_touched(session.watch),
        "U": session.is_on_unix_socket,
        "e": session.no_evict,
        "T": session.no_touch,
    }
    return "".join(flag for flag, holds in flags.items() if holds) or "N"


def describe(session: Session, asked: list[bytes]) -> bytes:
    """The line of a client in CLIENT LIST, without its end. `asked` is the request that runs, if this client has sent it."""
    server = session.server
    now_ms = server.now_ms()
    # Redis drops what was queued only when all of that has run.
    executing_count = session.executing_count if session.is_executing else -1
    queued = session.transaction.requests if session.transaction else []
    queued_bytes = sum(map(getsizeof, queued)) + sum(getsizeof(word) for words in queued for word in words)
    buffers = server.buffers_of(session.id)
    # The requests that run now were sent by the client that asks, and have left its connection.
    running_bytes = sum(map(request_bytes, server.usages.batch)) if asked else 0
    asked_bytes = sum(map(len, asked))
    fields: dict[str, object] = {
        "id": session.id,
        "addr": session.address,
        "laddr": session.local_address,
        "fd": session.descriptor,
        "name": session.name.decode(),
        "age": (now_ms - session.connected_at_ms) // 1000,
        "idle": (now_ms - session.last_active_at_ms) // 1000,
        "flags": _flags(session),
        "db": session.keyspace.number,
        "sub": len(session.channels),
        "psub": len(session.patterns),
        "ssub": len(session.shard_channels),
        "multi": len(queued) if session.transaction else executing_count,
        "qbuf": buffers.query_bytes + running_bytes,
        "qbuf-free": buffers.query_free_bytes,
        "argv-mem": buffers.argument_bytes + asked_bytes,
        "multi-mem": queued_bytes,
        # There is no buffer of fixed size: all replies that wait are one piece of memory, the transport's.
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": int(buffers.reply_bytes > 0),
        "omem": buffers.reply_bytes,
        "tot-mem": buffers.total_bytes + running_bytes + asked_bytes + queued_bytes,
        "events": "rw" if buffers.reply_bytes else "r",
        "cmd": session.last_command.lower().decode("utf-8", "replace") or "NULL",
        "user": session.user.name.decode("utf-8", "surrogateescape"),
        "redir": session.tracker.mode.redirect if session.tracker else -1,
        "resp": session.protocol,
        "lib-name": session.lib_name.decode(),
        "lib-ver": session.lib_ver.decode(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items()).encode("utf-8", "surrogateescape")
