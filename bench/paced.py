"""A paced load: commands leave at fixed times, whatever the server does.

Owns the schedule and the latencies. Command number k is due at k / rate and belongs to client k modulo the number of
clients; a client has one command in flight. Latency runs from the time at which a command was due, not from the time
at which it left: a server that stalls delays the commands behind the stall too, and a generator that waited with it
would leave them out (coordinated omission). So a late generator shows as latency as well, and its own delay is
recorded apart. Must never slow down for the server.
"""

import asyncio
import itertools
import selectors
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import hiredis

from bench.failure import BenchFailed

DRAIN_S = 60.0
_NEED_MORE = object()


class PacedLoadFailed(BenchFailed):
    """The load could not be kept up to its end; the message says why in one line."""


@dataclass(frozen=True)
class NamedRequest:
    name: str
    encoded: bytes


@dataclass
class PacedSamples:
    latencies_s: dict[str, "array[float]"] = field(default_factory=dict)  # by name of the request
    generator_delays_s: "array[float]" = field(default_factory=lambda: array("d"))
    errors: int = 0
    first_error: str | None = None


def new_precise_event_loop() -> asyncio.AbstractEventLoop:
    # select() waits to the microsecond; epoll and libuv round a timer up to whole milliseconds, which would be most of
    # the latency that is measured here.
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class PacedClient(asyncio.Protocol):
    """One connection with at most one command in flight; what is due meanwhile waits, its clock running."""

    def __init__(self, load: "PacedLoad") -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NEED_MORE)
        self._transport: asyncio.WriteTransport | None = None
        self._in_flight: tuple[float, NamedRequest] | None = None  # with the time at which it was due
        self._waiting: deque[tuple[float, NamedRequest]] = deque()

    @property
    def is_idle(self) -> bool:
        return self._in_flight is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail(f"the server closed a connection ({error or 'no error'})")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def offer(self, due_at: float, request: NamedRequest) -> None:
        if self._in_flight is None:
            self._send(due_at, request)
        else:
            self._waiting.append((due_at, request))

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _NEED_MORE:
            if self._in_flight is None:
                self._load.fail("the server sent a reply that nobody asked for")
                return
            due_at, request = self._in_flight
            self._in_flight = None
            self._load.record(request.name, now - due_at, reply)
            if self._waiting:
                self._send(*self._waiting.popleft())
            else:
                self._load.client_became_idle()

    def _send(self, due_at: float, request: NamedRequest) -> None:
        if self._transport is not None:
            self._in_flight = due_at, request
            self._transport.write(request.encoded)


class PacedLoad:
    def __init__(self, port: int, clients: int, rate_per_s: float, requests: Sequence[NamedRequest]) -> None:
        self._port = port
        self._client_count = clients
        self._interval_s = 1 / rate_per_s
        self._requests = itertools.cycle(requests)
        self._loop = asyncio.get_running_loop()
        self._samples = PacedSamples({request.name: array("d") for request in requests})
        self._clients: list[PacedClient] = []
        self._next_client = itertools.cycle(self._clients)
        self._timer: asyncio.TimerHandle | None = None
        self._started_at = 0.0
        self._sent = 0
        self._stopping = False
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        for _ in range(self._client_count):
            _, client = await self._loop.create_connection(self._client, "127.0.0.1", self._port)
            self._clients.append(client)
        self._next_client = itertools.cycle(self._clients)
        self._started_at = self._loop.time()
        self._tick()

    async def stop(self) -> PacedSamples:
        """Sends nothing more, waits for every reply that is owed, and closes."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self.client_became_idle()
        try:
            await asyncio.wait_for(self._over, DRAIN_S)
        except TimeoutError:
            raise PacedLoadFailed(f"replies were still missing after {DRAIN_S:.0f} s") from None
        finally:
            self.close()
        return self._samples

    def close(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
        elif not self._over.cancelled():
            self._over.exception()  # seen, even where another error came first
        if self._timer is not None:
            self._timer.cancel()
        for client in self._clients:
            client.close()

    def record(self, name: str, latency_s: float, reply: object) -> None:
        self._samples.latencies_s[name].append(latency_s)
        if isinstance(reply, hiredis.ReplyError):
            self._samples.errors += 1
            self._samples.first_error = self._samples.first_error or str(reply)

    def client_became_idle(self) -> None:
        if self._stopping and not self._over.done() and all(client.is_idle for client in self._clients):
            self._over.set_result(None)

    def fail(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(PacedLoadFailed(reason))

    def _client(self) -> PacedClient:
        return PacedClient(self)

    def _tick(self) -> None:
        due_at = self._started_at + self._sent * self._interval_s
        while due_at <= (now := self._loop.time()):
            self._samples.generator_delays_s.append(now - due_at)
            next(self._next_client).offer(due_at, next(self._requests))
            self._sent += 1
            due_at = self._started_at + self._sent * self._interval_s
        self._timer = self._loop.call_at(due_at, self._tick)
