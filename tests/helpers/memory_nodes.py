"""Whole servers that share an engine in memory, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import redis.asyncio

import kvserver
from kvserver.errors import Refused
from kvserver.formats.control import Lead, encode_lead
from kvserver.formats.manifest import BEGINNING
from kvserver.media.memory_engine import open_memory_engine
from kvserver.media.shared import Mark, Tip

# A busy machine may keep a node from its work for longer than a short lease.
LEASE_MS: Final = 2000


def node(name: str) -> kvserver.Server:
    return kvserver.Server(medium=f"memory://{name}", lease_milliseconds=LEASE_MS)


@asynccontextmanager
async def client_of(server: kvserver.Server) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 (threads change it)
            await asyncio.sleep(0.002)


def leads(server: kvserver.Server) -> bool:
    return server.is_running and server.state.replication.is_primary


def end_of(name: str) -> Tip:
    """The end of a log."""
    tip = Tip()
    log = open_memory_engine(name).log
    manifest, _ = open_memory_engine(name).vault.manifest()
    if manifest:
        tip = Tip(manifest.position, manifest.mark_number, manifest.mark_digest)
    for entry in log.read(tip.position, 0):
        tip = tip.behind(entry.position, entry.mark, entry.data)
    return tip


def append_by_force(name: str, make: Callable[[Tip], tuple[bytes, Mark]]) -> Tip:
    """Append the data and the mark that this makes at the end of a log to which others write. Return the end behind it."""
    log = open_memory_engine(name).log
    while True:
        tip = end_of(name)
        data, mark = make(tip)
        try:
            return tip.behind(log.append(data, mark, tip.position), mark, data)
        except Refused:
            continue


def take_over_by_force(name: str, epoch: int) -> None:
    """Append a LEAD as another node would that has applied everything."""
    append_by_force(name, lambda tip: (encode_lead(Lead(epoch, "rival", "rival.example", 1, LEASE_MS)), tip.mark(epoch)))


def break_log(name: str) -> Tip:
    """Append an entry that no node of the log has written. Return the end behind it."""
    return append_by_force(name, lambda tip: (b"garbage", tip.mark(tip.position.epoch)._replace(digest="f" * 32)))


def empty_log(name: str) -> None:
    """Let a log be as one that was made anew. The manifest stays."""
    log = open_memory_engine(name).log._log  # type: ignore[attr-defined]
    with log._change:
        log._entries.clear()
        log._trimmed, log._last = 0, BEGINNING
