"""Following a source, from REPLICAOF to REPLICAOF NO ONE: links that are made again and again, all data, then the stream.

The present data is served, and stays, until all data of the source is there as a whole: then that takes its place at once,
durably. From there on the source's commands run here as they come. Where a link is lost, the next one asks for what is behind
that place; where the source does not have it any more, all data comes anew. A start begins with all data.

While a server follows, it takes no writes, and no key goes by itself.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from kvserver.dispatch.table import CommandTable
from kvserver.engine.writer import Writer
from kvserver.errors import LinkLost, MediumError, SourceUnusable, TLSError
from kvserver.following.applying import Applying
from kvserver.following.handshake import Continue, Credentials, FullResync, Handshake, Place, packed
from kvserver.following.link import Link
from kvserver.following.loading import Loading
from kvserver.following.stream import Question, Stream
from kvserver.following.transfer import Transfer
from kvserver.network.tls import make_client_context
from kvserver.persistence.slices import BesideLoop
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState
from kvserver.state.source import LinkState, SourceFacts

RETRY_S: Final = 1.0
# All data is not asked for again so soon where it could not be kept.
RETRY_KEEPING_S: Final = 10.0
TELL_S: Final = 1.0
# So many bytes of all data are taken in a step, if they complete nothing.
STEP_BYTES: Final = 1 << 12

_log = logging.getLogger("kvserver")


class Follower:
    """The follower of a server, which follows nobody at first.

    `snapshots` keep all data of a source, and `workplace` is where it is gathered.
    """

    def __init__(
        self, state: ServerState, table: CommandTable, writer: Writer, snapshots: Snapshots, workplace: BesideLoop
    ) -> None:
        self._state = state
        self._facts = state.replication
        self._snapshots = snapshots
        self._workplace = workplace
        self._applying = Applying(state, table, writer)
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        # All data of a source is taking the place of the present: that is not ended in its middle.
        self._adoption: asyncio.Task[None] | None = None

    # What the server calls

    def mark(self, host: str, port: int) -> SourceFacts:
        """Take no writes from now on, for this source, and let no key go by itself."""
        source = SourceFacts(host, port, time.monotonic)
        self._facts.is_primary, self._facts.source = False, source
        self._state.config.replicaof = f"{host} {port}"
        self._state.databases.follow()
        return source

    def begin(self, host: str, port: int) -> None:
        """Follow this source, instead of the one before."""
        source, before = self.mark(host, port), self._stop()
        _log.info("Connecting to MASTER %s:%d", host, port)
        self._task = self._loop.create_task(self._follow(source, before))

    def end(self) -> Coroutine[Any, Any, None] | None:
        """Follow nobody any more, and take writes: at once, or, where all data is taking its place, when that is awaited."""
        before = self._stop()
        if self._adoption is None:
            self._lead()
            return None
        return self._lead_behind(before)

    async def close(self) -> None:
        """End all that is under way: the server leaves."""
        self._stop()
        for task in (self._task, self._adoption):
            if task:
                await asyncio.wait([task])

    def halt(self) -> None:
        """End all that is under way, as if the process had been killed."""
        for task in (self._task, self._adoption):
            if task:
                task.cancel()

    def _stop(self) -> asyncio.Task[None] | None:
        """End the link, if there is one. Return the task that is about to end."""
        if self._task:
            self._task.cancel()
        return self._task

    def _lead(self) -> None:
        self._facts.is_primary, self._facts.source = True, None
        self._state.config.replicaof = ""
        self._state.databases.lead()

    async def _lead_behind(self, before: asyncio.Task[None] | None) -> None:
        source = self._facts.source
        for task in (before, self._adoption):
            if task:
                await asyncio.wait([task])
        # Somebody may have had it follow another source meanwhile.
        if self._facts.source is source:
            self._lead()

    # Links

    async def _follow(self, source: SourceFacts, before: asyncio.Task[None] | None) -> None:
        for task in (before, self._adoption):
            if task:
                await asyncio.wait([task])
        told = ""
        while True:
            wait_s = RETRY_S
            try:
                await self._link(source)
            except SourceUnusable as error:
                source.lost(str(error))
                source.forget_history()
                source.has_given_up = True
                _log.error("following %s:%d has ended, and the data stays as it is: %s", source.host, source.port, error)
                return
            except (LinkLost, MediumError, TLSError) as error:
                if source.state is LinkState.CONNECTED:
                    told = ""
                source.lost(str(error))
                # What is the same each second is told once.
                _log.log(logging.DEBUG if str(error) == told else logging.WARNING, "%s", error)
                told = str(error)
                if isinstance(error, MediumError):
                    wait_s = RETRY_KEEPING_S
            except Exception as error:
                source.lost(repr(error))
                source.has_given_up = True
                source.forget_history()
                _log.exception("following has ended: this is a defect of kvserver")
                return
            await asyncio.sleep(wait_s)

    async def _link(self, source: SourceFacts) -> None:
        """Make a link, and follow by it until it is lost."""
        config = self._state.config
        source.state = LinkState.CONNECTING
        context: ssl.SSLContext | None = make_client_context(config) if config.tls_replication else None
        link = await Link.open(source.host, source.port, config.repl_timeout, context)
        try:
            source.heard()
            source.state = LinkState.HANDSHAKE
            answer = await self._greet(link, source)
            if isinstance(answer, Continue):
                _log.info("Successful partial resynchronization with master.")
                source.run = answer.run
                source.read_offset = source.offset
                rest = b""
            else:
                rest = await self._take_all(link, source, answer)
            await self._follow_stream(link, source, rest)
        finally:
            link.close()

    async def _greet(self, link: Link, source: SourceFacts) -> FullResync | Continue:
        config = self._state.config
        port = config.announce_port or config.port or config.tls_port
        if source.run:
            _log.info("Trying a partial resynchronization (request %s:%d).", source.run, source.offset + 1)
        handshake = Handshake(
            Credentials(config.masteruser, config.masterauth),
            Place(config.announce_ip, max(port, 0)),
            source.run,
            source.offset,
        )
        link.send(handshake.begin())
        while handshake.answer is None:
            data = handshake.take(await link.line())
            source.heard()
            if data:
                link.send(data)
        return handshake.answer

    # All data

    async def _take_all(self, link: Link, source: SourceFacts, answer: FullResync) -> bytes:
        """Take all data, and let it take the place of the present. Return what has come behind it."""
        _log.info("Full resync from master: %s:%d", answer.run, answer.offset)
        source.forget_history()
        source.state = LinkState.SYNC
        told = self._loop.create_task(_each_second(lambda: link.send(b"\n")))
        try:
            transfer = Transfer(self._state.config.proto_max_bulk_len, in_steps=True)
            loading = Loading(self._state.now_ms, self._state.config.databases)
            await self._gather(link, source, transfer, loading)
            _log.info("MASTER <-> REPLICA sync: %d keys have come; they take the place of the present data", loading.keys)
            adoption = self._snapshots.adopt(loading.databases, f"REPLICAOF {source.host}:{source.port}")
            self._adoption = self._loop.create_task(adoption)
            try:
                await asyncio.shield(self._adoption)
            finally:
                if self._adoption.done():
                    self._adoption = None
                else:
                    self._adoption.add_done_callback(self._have_adopted)
        finally:
            told.cancel()
        source.run, source.offset, source.read_offset = answer.run, answer.offset, answer.offset
        self._applying.begin()
        _log.info("MASTER <-> REPLICA sync: Finished with success")
        return transfer.rest

    def _have_adopted(self, task: asyncio.Task[None]) -> None:
        self._adoption = None
        if not task.cancelled() and (error := task.exception()):
            _log.error("the data of the source could not be kept: %s", error)

    async def _gather(self, link: Link, source: SourceFacts, transfer: Transfer, loading: Loading) -> None:
        """Read all data, in slices beside those who are served."""
        pace = self._workplace.pace()
        has_told = False
        while not transfer.is_done:
            data = await link.read(STEP_BYTES)
            source.heard()
            for item in transfer.feed(data):
                loading.put(item)
                if pace.is_over:
                    await pace.next()
            source.sync_bytes, source.synced_bytes = transfer.total_bytes, transfer.read_bytes
            if transfer.has_begun and not has_told:
                has_told = True
                size = f"{transfer.total_bytes} bytes" if transfer.total_bytes else "streamed RDB"
                _log.info("MASTER <-> REPLICA sync: receiving %s from master", size)
            if pace.is_over:
                await pace.next()

    # The stream

    async def _follow_stream(self, link: Link, source: SourceFacts, rest: bytes) -> None:
        """Run what comes, until the link is lost."""
        stream, pace = Stream(source.offset), self._workplace.pace()
        source.connected()
        told = self._loop.create_task(_each_second(lambda: _acknowledge(link, source)))
        try:
            data = rest
            while True:
                source.read_offset += len(data)
                for part in stream.feed(data):
                    if isinstance(part, Question):
                        _acknowledge(link, source)
                    else:
                        await self._applying.run(part)
                    source.offset = part.end
                    if pace.is_over:
                        await pace.next()
                data = await link.read()
                source.heard()
        finally:
            told.cancel()


def _acknowledge(link: Link, source: SourceFacts) -> None:
    """Tell the source how far its commands have run here."""
    link.send(packed([b"REPLCONF", b"ACK", b"%d" % source.offset]))


async def _each_second(tell: Callable[[], None]) -> None:
    """Tell something now, and each second from now on."""
    with suppress(asyncio.CancelledError):
        while True:
            tell()
            await asyncio.sleep(TELL_S)
