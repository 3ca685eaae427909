"""One client's connection: it parses what a read brought, puts the requests in the writer's inbox, and writes the replies.

It knows nothing of commands. It stops reading while its client doesn't read its replies, so that nobody's memory grows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from kvserver.engine.client import Client
from kvserver.engine.writer import COMMANDS_PER_TURN, Writer
from kvserver.resp.reply import Error
from kvserver.resp.request import RequestParser, request_bytes
from kvserver.state.session import ServerState
from kvserver.state.statistics import CLIENT_BYTES, Buffers

# When more of its replies are unread, nothing more of a client runs, and the limits of its class are looked at.
HIGH_WATER_BYTES: Final = 1 << 20
# The transport is given so much of a long reply at once: to copy that into the system's buffers takes some 0.1 ms.
SENT_AT_ONCE_BYTES: Final = 1 << 18
# After a read of so many bytes of a long command other clients have their turn: libuv would read on, 32 times in a row.
LONG_READ_BYTES: Final = 1 << 16
# The system may take so much of replies that nobody reads. A hard limit below can't be held by looking at what it left.
SYSTEM_BUFFER_BYTES: Final = 16 << 20
# Redis's REPLY_BUFFER_SIZE_UNAUTHENTICATED_CLIENT.
UNAUTHENTICATED_UNREAD_BYTES: Final = 1024

_log = logging.getLogger("kvserver")


class Owner(Protocol):
    """The part of the server that a connection needs."""

    state: ServerState
    writer: Writer
    # The connections whose clients don't read: the owner calls `check_unread` of each from time to time.
    choked: set[Connection]

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in; or tell the client why not, close the connection and return False."""

    def release(self, connection: Connection) -> None:
        """Forget a connection."""


class Connection(Client):
    """A client for the writer, and the protocol of an asyncio transport: not as a subclass, which couldn't be compiled."""

    transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        # The client waits, and what it sends meanwhile is read all the same: so its end is noticed.
        self._reads_on = False
        # What was read then while the queue was full, unparsed, and its size.
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._owner = owner
        self._writer = owner.writer
        self._counters = owner.state.counters
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser()
        self._is_admitted = False
        # `_send_unchoked`, or while the client doesn't read a function that looks at the limits after each write.
        self._send: Callable[[bytes], None]
        # The transport's own `write`, or where a limit is low a function that looks at it before each write.
        self._send_unchoked: Callable[[bytes], None]
        # The rest of a long reply and the replies behind it, which the transport has not been given.
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        # The transport takes no more.
        self._is_paused = False
        # The client is disconnected since it left too much unread.
        self._is_dropped = False
        # The unread bytes at the last check.
        self._unread_bytes = 0
        # The time by the event loop's clock since which the unread bytes are above the soft limit, or None.
        self._above_soft_since_s: float | None = None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self._send = self._send_unchoked = self.transport.write
        self._is_admitted = self._owner.admit(self)
        if self._is_admitted:
            self.apply_limits()

    def data_received(self, data: bytes) -> None:
        """Parse what was received, or keep it for later."""
        if self._ahead or (self._reads_on and self.is_full):
            self._keep(data)
        else:
            self._parse(data)

    def _keep(self, data: bytes) -> None:
        """Keep data that is to be parsed when some of the queue has run."""
        self._ahead.append(data)
        self._ahead_bytes += len(data)
        if self._ahead_bytes > self._owner.state.config.client_query_buffer_limit:
            self._end_over_limit()

    def _end_over_limit(self) -> None:
        _log.warning("closing client %s: it reached the query buffer limit", self.session.address)
        self.transport.abort()

    def _parse(self, data: bytes) -> None:
        self._counters.input_bytes += len(data)
        parser = self._parser
        commands = parser.feed(data)
        if commands:
            if self.queue:
                self.queue += commands
            else:
                self.queue = commands
            if not self.is_queued:
                self._writer.enqueue(self)
            if len(self.queue) > COMMANDS_PER_TURN and not self.is_full:
                self.is_full = True
                self._read_if_free()
        if parser.is_idle:
            return
        if parser.failure:
            self._end_input()
        elif parser.has_unread:
            if not self.is_full:
                self.is_full = True
                self._read_if_free()
            # The turn of a command would lead to `read_on`, but there is no command.
            if not self.queue:
                self._loop.call_soon(self.read_on)
        elif parser.pending_bytes:
            # A client that is in the middle of a long command is not idle.
            self.session.last_active_at_ms = self._owner.state.now_ms()
            if parser.pending_bytes > self._owner.state.config.client_query_buffer_limit:
                self._end_over_limit()
            elif len(data) >= LONG_READ_BYTES:
                self.transport.pause_reading()
                self._loop.call_soon(self._read_if_free)

    def eof_received(self) -> bool:
        self.has_hung_up = True
        if self.session.is_blocked:
            self.has_ended = True
            self._writer.results.hang_up(self)
        self._end_input()
        # True keeps the connection open: the replies are still to be written. TLS has no half-closed connections.
        return not self.transport.get_extra_info("sslcontext")

    def connection_lost(self, exception: Exception | None) -> None:
        self.has_ended = self.is_closed = True
        self.queue = []
        self._unsent.clear()
        self._unsent_bytes = 0
        self._ahead.clear()
        # A method of this connection would keep it for the garbage collector.
        self._send = self._send_unchoked = self.transport.write
        if self._is_admitted:
            self._owner.release(self)

    def pause_writing(self) -> None:
        self._is_paused = True
        self._choke()

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._unsent:
            self._loop.call_soon(self._send_next)
        else:
            self._unchoke()

    # What the writer calls

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            length = len(data)
            self._counters.output_bytes += length
            if length > SENT_AT_ONCE_BYTES:
                self._send_long(data)
            else:
                self._send(data)

    def wait(self, *, reads_on: bool = False) -> None:
        self.is_waiting, self._reads_on = True, reads_on
        self._read_if_free()

    def go_on(self) -> None:
        self.is_waiting = self._reads_on = False
        self._read_if_free()

    def recognize(self) -> None:
        self.apply_limits()

    def read_on(self) -> None:
        if self.is_closed:
            return
        if not self.queue and self._parser.has_unread:
            self._parse(b"")
        elif not self.queue and self._ahead:
            data = self._ahead.popleft()
            self._ahead_bytes -= len(data)
            self._parse(data)
            if not self.queue:
                self._loop.call_soon(self.read_on)
        if len(self.queue) <= COMMANDS_PER_TURN and not (self._parser.has_unread or self._ahead):
            self.is_full = False
            self._read_if_free()

    def finish(self) -> None:
        failure = self._parser.failure
        if failure:
            self.write(Error(f"ERR Protocol error: {failure}").wire)
            self._owner.state.usages.count_error("ERR")
        self.close()

    def close(self) -> None:
        self.is_closed = self.has_ended = True
        self.queue = []
        if not self._unsent:
            self.transport.close()

    # What the server calls

    def apply_limits(self) -> None:
        """Set the limits of what is read and of what may be unread, by the configuration and the session's standing."""
        if self.is_closed:
            return
        config, authenticated = self._owner.state.config, self.session.authenticated
        self._parser.limit(config.proto_max_bulk_len, authenticated)
        # The limits of both classes, since a client may go from one to the other.
        limits = config.client_output_buffer_limit
        of_classes = [limit for name in ("normal", "pubsub") for limit in limits[name][:2] if limit]
        high = min([HIGH_WATER_BYTES, *of_classes]) if authenticated else UNAUTHENTICATED_UNREAD_BYTES
        if not self._unsent:
            self.transport.set_write_buffer_limits(high, high // 4)
        is_low = any(0 < limits[name][0] < SYSTEM_BUFFER_BYTES for name in ("normal", "pubsub"))
        self._send_unchoked = self._send_within_limit if is_low else self.transport.write
        if not self.is_choked:
            self._send = self._send_unchoked

    def check_unread(self) -> None:
        """Close if the client left more replies unread than its class may: the hard limit at once, the soft one for its time.

        This is called for a choked client, at each write and from time to time. Over TLS, the bytes that were encrypted
        before the system's buffer was full are not counted.
        """
        if self._is_dropped:
            return
        state, session, now_s = self._owner.state, self.session, self._loop.time()
        unread_bytes = self._held_bytes
        # A client that reads, if slowly, is not idle.
        if unread_bytes < self._unread_bytes:
            session.last_active_at_ms = state.now_ms()
        self._unread_bytes = unread_bytes
        hard, soft, seconds = state.config.client_output_buffer_limit["pubsub" if session.is_subscriber else "normal"]
        if not session.authenticated:
            hard, soft = UNAUTHENTICATED_UNREAD_BYTES, 0
        if not soft or unread_bytes < soft:
            self._above_soft_since_s = None
        elif self._above_soft_since_s is None:
            self._above_soft_since_s = now_s
        is_above_soft = self._above_soft_since_s is not None and now_s - self._above_soft_since_s > seconds
        if is_above_soft or (hard and unread_bytes >= hard):
            self._drop(unread_bytes)

    def _drop(self, unread_bytes: int) -> None:
        _log.warning("closing client %s: it left %d bytes of replies unread", self.session.address, unread_bytes)
        self.is_closed = self.has_ended = self._is_dropped = True
        self.queue = []
        # The transport is in the middle of a write, so that it can't be aborted now.
        self._loop.call_soon(self.transport.abort)

    def holds_anything(self) -> bool:
        """True if `buffers` would tell of more than every connection takes. Quick, since there may be thousands of them."""
        return bool(self.queue or self._ahead or not self._parser.is_idle or self._held_bytes)

    def buffers(self) -> Buffers:
        """The sizes of the buffers now."""
        parser, reply_bytes = self._parser, self._held_bytes
        query_bytes = parser.buffered_bytes + self._ahead_bytes + sum(map(request_bytes, self.queue))
        total_bytes = CLIENT_BYTES + query_bytes + parser.spare_bytes + parser.argument_bytes + reply_bytes
        return Buffers(query_bytes, parser.spare_bytes, parser.argument_bytes, reply_bytes, total_bytes)

    @property
    def _held_bytes(self) -> int:
        """The bytes of replies that the system has not taken."""
        return self.transport.get_write_buffer_size() + self._unsent_bytes

    def abort(self) -> None:
        """Close now, though something may still be to be written."""
        self.is_closed = True
        self.transport.abort()

    def _choke(self) -> None:
        self.is_choked = True
        self._send = self._send_and_check
        self._owner.choked.add(self)
        self._read_if_free()
        self.check_unread()

    def _unchoke(self) -> None:
        self.is_choked = False
        self._send = self._send_unchoked
        self._owner.choked.discard(self)
        self._unread_bytes, self._above_soft_since_s = 0, None
        self._read_if_free()

    def _send_and_check(self, data: bytes) -> None:
        if self._unsent:
            self._unsent.append(memoryview(data))
            self._unsent_bytes += len(data)
        else:
            self.transport.write(data)
        self.check_unread()

    def _send_long(self, data: bytes) -> None:
        """Send a long reply in pieces: each in its own turn of the event loop, when the transport holds nothing any more.

        A transport that is given the whole reply hands it to the system in one go, as fast as the client reads.
        """
        is_first = not self._unsent
        self._unsent.append(memoryview(data))
        self._unsent_bytes += len(data)
        if is_first:
            # The transport shall tell when it has nothing left. With a high limit of 0, TLS would never tell.
            self.transport.set_write_buffer_limits(1, 0)
            if not self._is_paused:
                self._loop.call_soon(self._send_next)
        self._choke()

    def _send_next(self) -> None:
        if self._is_paused or self._is_dropped or not self._unsent:
            return
        data = self._unsent.popleft()
        if len(data) > SENT_AT_ONCE_BYTES:
            self._unsent.appendleft(data[SENT_AT_ONCE_BYTES:])
            data = data[:SENT_AT_ONCE_BYTES]
        self._unsent_bytes -= len(data)
        self.transport.write(data)
        if self._unsent:
            if not self._is_paused:
                self._loop.call_soon(self._send_next)
        elif self.is_closed:
            self.transport.close()
        else:
            self.apply_limits()
            if not self._is_paused:
                self._unchoke()

    def _send_within_limit(self, data: bytes) -> None:
        """Send a reply, or drop the client if it would have too much unread then: Redis sends nothing of such a reply."""
        hard = self._owner.state.config.client_output_buffer_limit["pubsub" if self.session.is_subscriber else "normal"][0]
        unread_bytes = self._held_bytes + len(data)
        if hard and unread_bytes >= hard and self.session.authenticated:
            self._drop(unread_bytes)
        else:
            self.transport.write(data)

    def _end_input(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            if not self.is_queued:
                self._writer.enqueue(self)

    def _read_if_free(self) -> None:
        """Read, or stop reading from a client that waits, doesn't read, or sends faster than it is served."""
        if self.is_closed:
            return
        is_held = self.is_waiting or self.is_choked
        if (is_held or self.is_full) and not self._reads_on:
            self.transport.pause_reading()
        elif not self.has_ended:
            self.transport.resume_reading()
        if is_held:
            return
        if (self.queue or self.has_ended) and not self.is_queued:
            self._writer.enqueue(self)
