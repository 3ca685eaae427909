"""A load on one server: its connections, what they send and when, and how long each reply took.

Owns the schedule and the latencies. With a rate the load is open: batch number k is due at k / rate and belongs to client k
modulo the number of clients; a client has one batch in flight. Latency runs from the time at which a batch was due, not from
the time at which it left: a server that stalls delays the batches behind the stall too, and a generator that waited with it
would leave them out (coordinated omission). So a late generator shows as latency as well, and its own delay is recorded
apart. Without a rate the load is closed: each client sends its next batch when it has the replies of the one before. One
thread and no event loop, which would add what is measured here; it does not sleep through the last moment before a batch
is due, since timers are late by some 50 µs. Must never slow down for the server, nor encode a request while the clock runs.
"""

import gc
import itertools
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import hiredis

from bench.failure import BenchFailed
from bench.request import encode_request

RECEIVE_BYTES = 1 << 16
# A plan gives this time to the replies behind its end, and a client to its connection.
DRAIN_S = 10.0
# If the next batch is due sooner than this, there is no sleep.
SPIN_S = 100e-6
# The longest sleep, since a load ends by a time or a count as well as by a file descriptor.
NAP_S = 0.05
PING = encode_request(b"PING")
_NEED_MORE = object()


class LoadFailed(BenchFailed):
    """The load could not be carried to its end; the message says why in one line."""


@dataclass(frozen=True)
class Batch:
    """Requests that leave in one write."""

    # Latencies are told apart by this name.
    name: str
    encoded: bytes
    commands: int = 1


@dataclass(frozen=True)
class LoadPlan:
    """The clients of a load, the batches that they send in a circle, and its rate and end. It ends with what comes first."""

    port: int
    clients: int
    batches: Sequence[Batch]
    # None: the load is closed.
    batches_per_s: float | None
    # None: the time does not end the load, or the number of commands does not.
    seconds: float | None = None
    commands: int | None = None
    # The time that replies may still take once the last batch is sent.
    drain_s: float = DRAIN_S


@dataclass
class LoadSamples:
    """The findings of a load: latencies by the name of the batch, and counts."""

    latencies_s: dict[str, "array[float]"]
    # Only an open load has these.
    generator_delays_s: "array[float]" = field(default_factory=lambda: array("d"))
    commands: int = 0
    # The time to the last reply.
    elapsed_s: float = 0.0
    errors: int = 0
    first_error: str | None = None


class LoadClient:
    """One connection with at most one batch in flight; what is due meanwhile waits, its clock running."""

    def __init__(self, port: int) -> None:
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=DRAIN_S)
        except OSError as error:
            raise LoadFailed(f"no connection to port {port}: {error}") from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader(notEnoughData=_NEED_MORE)
        # The batch in flight, when it was due, and the number of its replies that have not arrived.
        self.batch: Batch | None = None
        self.due_at = 0.0
        self.missing = 0
        self.waiting: deque[tuple[Batch, float]] = deque()

    def send(self, batch: Batch, due_at: float) -> None:
        self.batch, self.due_at, self.missing = batch, due_at, batch.commands
        # A batch is smaller than what the kernel buffers of an otherwise empty connection, so this returns at once;
        # if it is not, the server reads while it replies.
        self.socket.sendall(batch.encoded)


class Load:
    """A load, to be run once. It ends, too, when `stop_fd` becomes readable and a batch of each name was sent."""

    def __init__(self, plan: LoadPlan, stop_fd: int | None = None) -> None:
        self._plan = plan
        self._stop_fd = stop_fd
        self._batches: Iterator[Batch] = itertools.cycle(plan.batches)
        self._samples = LoadSamples({batch.name: array("d") for batch in plan.batches})
        # The names of batches of which none was sent.
        self._unsent = set(self._samples.latencies_s)
        self._poll = select.epoll()
        self._clients: list[LoadClient] = []
        self._by_fd: dict[int, LoadClient] = {}
        # The number of clients with a batch in flight.
        self._busy = 0

    def connect(self) -> None:
        for _ in range(self._plan.clients):
            client = LoadClient(self._plan.port)
            self._clients.append(client)
            self._by_fd[client.socket.fileno()] = client
            self._poll.register(client.socket, select.EPOLLIN)
            # The server answers each connection once, so that it has accepted that before the clock runs, and before the
            # next one comes: some let no more than five wait to be accepted.
            client.socket.sendall(PING)
            while client.reader.gets() is _NEED_MORE:
                client.reader.feed(self._read(client))
        if self._stop_fd is not None:
            self._poll.register(self._stop_fd, select.EPOLLIN)

    def run(self) -> LoadSamples:
        """Connect if that has not been done, send until it is time to end, and wait for every reply that is owed.

        LoadFailed if the server closes a connection, sends what is no reply, or owes replies for too long.
        """
        if not self._clients:
            self.connect()
        gc.collect()
        gc.disable()
        try:
            self._run()
        finally:
            gc.enable()
            for client in self._clients:
                client.socket.close()
            self._poll.close()
        return self._samples

    def _run(self) -> None:
        plan, clock = self._plan, time.perf_counter
        interval_s = 1 / plan.batches_per_s if plan.batches_per_s else None
        started_at = now = clock()
        ends_at = started_at + plan.seconds if plan.seconds is not None else float("inf")
        left = plan.commands if plan.commands is not None else float("inf")
        takers = itertools.cycle(self._clients)
        due_at, number, stopped = started_at, 0, False
        delays_s = self._samples.generator_delays_s
        while True:
            if now >= ends_at or left <= 0 or (stopped and not self._unsent):
                break
            if interval_s is None:
                for client in self._clients:
                    if client.batch is None and left > 0:
                        left -= self._offer(client, clock())
            else:
                while due_at <= now and left > 0:
                    delays_s.append(now - due_at)
                    left -= self._offer(next(takers), due_at)
                    number += 1
                    due_at = started_at + number * interval_s
                    now = clock()
            stopped = self._wait(min(due_at if interval_s else ends_at, ends_at) - clock())
            now = clock()
        self._drain()
        self._samples.elapsed_s = clock() - started_at

    def _offer(self, client: LoadClient, due_at: float) -> int:
        batch = next(self._batches)
        self._unsent.discard(batch.name)
        if client.batch is None:
            self._busy += 1
            client.send(batch, due_at)
        else:
            client.waiting.append((batch, due_at))
        return batch.commands

    def _wait(self, pause_s: float) -> bool:
        """Take in what has arrived, after a sleep if there is time for one. Return True if the load has to end."""
        if pause_s > SPIN_S:
            # select() counts its time in microseconds, where epoll counts in milliseconds.
            select.select([self._poll], [], [], min(pause_s - SPIN_S, NAP_S))
        stopped = False
        for fd, _ in self._poll.poll(0):
            client = self._by_fd.get(fd)
            if client is None:
                stopped = True
            else:
                self._receive(client)
        return stopped

    def _read(self, client: LoadClient) -> bytes:
        try:
            data = client.socket.recv(RECEIVE_BYTES)
        except OSError as error:
            raise LoadFailed(f"the server closed a connection ({error})") from error
        if not data:
            raise LoadFailed("the server closed a connection")
        return data

    def _receive(self, client: LoadClient) -> None:
        data = self._read(client)
        now = time.perf_counter()
        samples, reader = self._samples, client.reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NEED_MORE:
                client.missing -= 1
                if isinstance(reply, hiredis.ReplyError):
                    samples.errors += 1
                    samples.first_error = samples.first_error or str(reply)
        except hiredis.ProtocolError as error:
            raise LoadFailed(f"the server sent bytes that are no reply: {error}") from error
        batch = client.batch
        if batch is None or client.missing < 0:
            raise LoadFailed("the server sent a reply that nobody asked for")
        if client.missing == 0:
            samples.latencies_s[batch.name].append(now - client.due_at)
            samples.commands += batch.commands
            client.batch = None
            if client.waiting:
                client.send(*client.waiting.popleft())
            else:
                self._busy -= 1

    def _drain(self) -> None:
        deadline = time.perf_counter() + self._plan.drain_s
        while self._busy:
            if time.perf_counter() > deadline:
                owed = sum(len(client.waiting) + (client.batch is not None) for client in self._clients)
                raise LoadFailed(f"{owed} batches had no reply {self._plan.drain_s:.0f} s after the last was due")
            self._wait(NAP_S)
