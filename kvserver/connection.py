"""One client's connection: parses what a read brought, puts the commands in the writer's inbox, writes what it is given.

Knows nothing of commands. Stops reading while its client does not read its replies, so that neither side's memory grows.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol, cast

from kvserver.resp.reply import Error
from kvserver.resp.request import Command, RequestParser
from kvserver.session import ServerState, Session
from kvserver.writer import COMMANDS_PER_TURN, Writer

WRITE_HIGH_WATER_BYTES: Final = 1 << 20
WRITE_LOW_WATER_BYTES: Final = 1 << 18

_log = logging.getLogger("kvserver")


class Owner(Protocol):
    """What a connection needs of the server."""

    state: ServerState
    writer: Writer

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in, or answer why not and close it."""

    def release(self, connection: Connection) -> None:
        """Forget a connection."""


class Connection(asyncio.Protocol):
    """The writer's Client, on an asyncio transport."""

    session: Session
    transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self.queue: list[Command] = []
        self.is_queued = False
        self.is_waiting = False
        self.is_choked = False
        self.has_ended = False
        self.is_closed = False
        self._owner = owner
        self._writer = owner.writer
        self._counters = owner.state.counters
        self._parser = RequestParser()
        self._is_admitted = False
        self._is_full = False  # the queue has more than the next turn can run

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self.transport.set_write_buffer_limits(WRITE_HIGH_WATER_BYTES, WRITE_LOW_WATER_BYTES)
        self._is_admitted = self._owner.admit(self)
        if self._is_admitted:
            self.apply_limits()

    def data_received(self, data: bytes) -> None:
        self._counters.input_bytes += len(data)
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        commands = parser.feed(data)
        if commands:
            if self.queue:
                self.queue += commands
            else:
                self.queue = commands
            if not self.is_queued:
                self._writer.enqueue(self)
            if len(self.queue) > COMMANDS_PER_TURN and not self._is_full:
                self._is_full = True
                self._read_if_free()
        if parser.is_idle:
            return
        if parser.failure:
            self._end_input()
        elif parser.pending_bytes > self._owner.state.config.client_query_buffer_limit:
            _log.warning("closing client %s: it reached the query buffer limit", self.session.address)
            self.transport.abort()

    def eof_received(self) -> bool:
        self._end_input()
        return True  # keep it open: the replies are still to be written

    def connection_lost(self, exception: Exception | None) -> None:
        self.has_ended = self.is_closed = True
        self.queue = []
        if self._is_admitted:
            self._owner.release(self)

    def pause_writing(self) -> None:
        self.is_choked = True
        self._read_if_free()

    def resume_writing(self) -> None:
        self.is_choked = False
        self._read_if_free()

    # What the writer calls

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self._counters.output_bytes += len(data)
            self.transport.write(data)

    def wait(self) -> None:
        self.is_waiting = True
        self._read_if_free()

    def go_on(self) -> None:
        self.is_waiting = False
        self._read_if_free()

    def recognize(self) -> None:
        self.apply_limits()

    def read_on(self) -> None:
        if self._is_full and len(self.queue) <= COMMANDS_PER_TURN:
            self._is_full = False
            self._read_if_free()
        elif self._parser.has_unread and not self.queue:
            self._parse(b"")

    def finish(self) -> None:
        failure = self._parser.failure
        if failure:
            self.write(Error(f"ERR Protocol error: {failure}").wire)
            self._owner.state.table.usages.count_error("ERR")
        self.close()

    def close(self) -> None:
        self.is_closed = self.has_ended = True
        self.queue = []
        self.transport.close()

    # What the server calls

    def apply_limits(self) -> None:
        """Tell the parser what the configuration and the session's standing allow."""
        self._parser.limit(self._owner.state.config.proto_max_bulk_len, self.session.authenticated)

    def abort(self) -> None:
        """Close now, whatever is still to be written."""
        self.is_closed = True
        self.transport.abort()

    def _end_input(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            if not self.is_queued:
                self._writer.enqueue(self)

    def _read_if_free(self) -> None:
        """A client that waits, does not read, or sends faster than it is served is not read from: nothing piles up."""
        if self.is_closed:
            return
        if self.is_waiting or self.is_choked or self._is_full:
            self.transport.pause_reading()
            return
        if not self.has_ended:
            self.transport.resume_reading()
        if (self.queue or self.has_ended) and not self.is_queued:
            self._writer.enqueue(self)
