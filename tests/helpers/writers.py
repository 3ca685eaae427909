"""A writer on the state of a server: its clients note what they are told, and its journal is as far as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from helpers.sessions import Server
from kvserver.dispatch.effect import Effect, Fetch, Fetched, Recreated
from kvserver.engine.client import Client
from kvserver.engine.outbox import Outbox
from kvserver.engine.writer import Writer
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request, RequestParser
from kvserver.state.session import Session


class Noting(Client):
    """A client without a connection. As a Connection, it is told of its end later than it is aborted."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.said = b""
        self.is_aborted = False
        self.on_go_on: Callable[[], object] = lambda: None
        self.fails = False

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("a defect")
        if not self.is_closed:
            self.said += data

    def wait(self, *, reads_on: bool = False) -> None:
        self.is_waiting = True

    def go_on(self) -> None:
        self.is_waiting = False
        self.on_go_on()

    def recognize(self) -> None: ...
    def read_on(self) -> None: ...

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = self.has_ended = True
        self.queue = []

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True


class Recording:
    """A journal that is as far as a test says."""

    def __init__(self) -> None:
        self.sequence = self.safe = 0
        self.on_record: Callable[[], None] = lambda: None

    def record(self, commands: list[Request], clients: int) -> None:
        self.sequence += 1
        self.on_record()

    def cover(self) -> int:
        return self.sequence


class Nothing(Fetched):
    """No keys that come back."""

    count = 0

    def changes(self) -> dict[bytes, Recreated | None] | None:
        return {}


class Waiting:
    """Jobs that take until `ended` is set."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def act(self, effect: Effect, session: Session) -> Reply:
        return self._act()  # type: ignore[return-value]

    def fetch(self, effect: Fetch, session: Session) -> Awaitable[Fetched]:
        return self._fetch()

    async def _fetch(self) -> Fetched:
        await self.ended.wait()
        return Nothing()

    async def _act(self) -> Reply:
        await self.ended.wait()
        return OK


class Setting:
    """A writer with what is around it."""

    def __init__(self) -> None:
        self.server = Server()
        self.jobs = Waiting()
        self.recording = Recording()
        self.writer = Writer(self.server.state, self.server.table, self.jobs, self.recording.record)
        self.writer.runs_together = True

    def client(self) -> Noting:
        client = Noting(self.server.session())
        self.writer.results.clients[client.session.id] = client
        return client

    def hold_replies(self) -> Outbox:
        outbox = Outbox(self.recording)
        self.writer.hold_replies(outbox)
        return outbox

    def send(self, client: Noting, *requests: bytes) -> None:
        client.queue += RequestParser().feed(b"".join(requests))
        if not client.is_queued:
            self.writer.enqueue(client)


async def settle() -> None:
    """Let all run that can."""
    for _ in range(5):
        await asyncio.sleep(0)
