"""A closed-loop load: each connection sends a batch of commands, waits for all its replies, sends the next.

Owns the connections, the encoded requests and the latencies of one run. The latency of a command is that of its batch,
from the write to the last reply. Must never encode a request while the clock runs.
"""

import asyncio
import dataclasses
import itertools
import random
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import hiredis

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.percentiles import Percentiles
from bench.request import encode_request

MAX_REQUESTS = 100_000_000
# How long replies may still take once the last request is sent.
DRAIN_S = 30.0
# Encoded requests are reused in a circle, bounded in number and in memory.
POOL_REQUESTS = 200_000
POOL_BYTES = 64 << 20
SEED = 20_240
_NEED_MORE = object()


class LoadFailed(BenchFailed):
    """The load could not be carried to its end; the message says why in one line."""


@dataclass(frozen=True)
class LoadPlan:
    host: str
    port: int
    clients: int
    pipeline: int
    requests: int | None  # None: until the time is over
    seconds: float
    dataset: Dataset
    mix: dict[str, int]  # command to weight


@dataclass(frozen=True)
class LoadResult:
    commands: int
    errors: int
    first_error: str | None
    elapsed_s: float
    commands_per_s: float
    latency: Percentiles


def encode_batches(plan: LoadPlan) -> list[bytes]:
    """As many different batches of the wanted mix as the bounds of the pool allow."""
    choice = random.Random(SEED)
    dataset = plan.dataset
    widest = len(dataset.set_request(0))
    requests = min(POOL_REQUESTS, POOL_BYTES // widest, plan.requests or POOL_REQUESTS)
    batches = max(1, requests // plan.pipeline)
    names = list(plan.mix)
    weights = list(plan.mix.values())
    ping = encode_request(b"PING")

    def encode(name: str) -> bytes:
        if name == "ping":
            return ping
        index = choice.randrange(dataset.keys)
        return dataset.set_request(index) if name == "set" else dataset.get_request(index)

    return [b"".join(map(encode, choice.choices(names, weights, k=plan.pipeline))) for _ in range(batches)]


class LoadClient(asyncio.Protocol):
    """One connection with one batch in flight."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._reader = hiredis.Reader(notEnoughData=_NEED_MORE)
        self._transport: asyncio.WriteTransport | None = None
        self._missing = 0  # replies of the present batch that have not arrived
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._missing:
            self._load.fail(f"the server closed a connection in use ({error or 'no error'})")

    def close(self) -> None:
        self._missing = 0
        if self._transport is not None:
            self._transport.abort()

    def send(self) -> None:
        batch, self._missing = self._load.next_batch()
        if self._missing and self._transport is not None:
            self._sent_at = time.perf_counter()
            self._transport.write(batch)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        missing = self._missing
        try:
            while (reply := self._reader.gets()) is not _NEED_MORE:
                missing -= 1
                if isinstance(reply, hiredis.ReplyError):
                    self._load.count_error(str(reply))
        except hiredis.ProtocolError as error:
            self._load.fail(f"the server sent bytes that are no reply: {error}")
            return
        self._missing = missing
        if missing < 0:
            self._load.fail("the server sent more replies than it got requests")
        elif missing == 0:
            self._load.batch_done(time.perf_counter() - self._sent_at)
            self.send()


class Load:
    """The whole run: hands out batches, gathers latencies, knows when it is over."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        batches = encode_batches(plan)
        self._batches: Iterator[bytes] = itertools.cycle(batches)
        # The count is kept exactly: what does not fill a batch goes as single requests at the end.
        self._single: Iterator[bytes] = itertools.cycle(
            encode_batches(dataclasses.replace(plan, pipeline=1, requests=plan.pipeline))
        )
        self._left = plan.requests if plan.requests is not None else MAX_REQUESTS
        self._stopped = False
        self._in_flight = 0  # batches
        self._sent = 0  # commands
        self._latencies_s = array("d")
        self._errors = 0
        self._first_error: str | None = None
        self._over = asyncio.get_running_loop().create_future()

    async def run(self) -> LoadResult:
        plan = self._plan
        loop = asyncio.get_running_loop()
        clients: list[LoadClient] = []
        try:
            for _ in range(plan.clients):
                _, client = await loop.create_connection(self._client, plan.host, plan.port)
                clients.append(client)
            started_at = time.perf_counter()
            stop = loop.call_later(plan.seconds, self._stop)
            for client in clients:
                client.send()
            await asyncio.wait_for(self._over, plan.seconds + DRAIN_S)
            elapsed_s = time.perf_counter() - started_at
            stop.cancel()
        except TimeoutError:
            raise LoadFailed(f"{self._in_flight} batches had no reply after {DRAIN_S:.0f} s") from None
        except OSError as error:
            raise LoadFailed(f"no connection to {plan.host}:{plan.port}: {error}") from error
        finally:
            for client in clients:
                client.close()
        return LoadResult(
            commands=self._sent,
            errors=self._errors,
            first_error=self._first_error,
            elapsed_s=elapsed_s,
            commands_per_s=self._sent / elapsed_s,
            latency=Percentiles.of_seconds(self._latencies_s),
        )

    def next_batch(self) -> tuple[bytes, int]:
        if self._stopped or not self._left:
            return b"", 0
        if self._left >= self._plan.pipeline:
            batch, size = next(self._batches), self._plan.pipeline
        else:
            size = self._left
            batch = b"".join(itertools.islice(self._single, size))
        self._left -= size
        self._sent += size
        self._in_flight += 1
        return batch, size

    def batch_done(self, latency_s: float) -> None:
        self._latencies_s.append(latency_s)
        self._in_flight -= 1
        if not self._in_flight and (self._stopped or not self._left) and not self._over.done():
            self._over.set_result(None)

    def count_error(self, text: str) -> None:
        self._errors += 1
        if self._first_error is None:
            self._first_error = text

    def fail(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(LoadFailed(reason))

    def _client(self) -> LoadClient:
        return LoadClient(self)

    def _stop(self) -> None:
        self._stopped = True
