"""What a server is asked to do while its clients are watched: SAVE, BGSAVE, RESTORE, BGSAVE with compaction.

Owns how each is asked for and how its end is seen; each uses a control connection of its own, in a thread, since SAVE
and RESTORE answer only when they are done. Must never measure. INFO is asked at intervals: neither server announces
the end of a background flush to anyone.
"""

import asyncio

from bench.failure import BenchFailed
from bench.phase import Action
from bench.process import ServerProcess

INFO_INTERVAL_S = 0.05
# A medium is rewritten when it has grown past a few times its live size; this many flushes should be past it.
MAX_FLUSHES_TO_COMPACTION = 8


class ActionFailed(BenchFailed):
    """The server can't do it, or says that it failed; the message says what."""


def save(server: ServerProcess) -> Action:
    async def act() -> None:
        await asyncio.to_thread(_call, server, "SAVE")

    return act


def restore(server: ServerProcess) -> Action:
    async def act() -> None:
        reply = await asyncio.to_thread(_call, server, "RESTORE")
        if reply != 1:
            raise ActionFailed(f"RESTORE answered {reply!r}: no frame was loaded")

    return act


def bgsave(server: ServerProcess) -> Action:
    async def act() -> None:
        await asyncio.to_thread(_call, server, "BGSAVE")
        await wait_until_settled(server)

    return act


def bgsave_until_compaction(server: ServerProcess, payload_bytes: int) -> Action:
    """Flushes until the medium is seen to have been rewritten: it grew by less than the flushes wrote."""

    async def act() -> None:
        before_bytes = server.data_bytes()
        for flushes in range(1, MAX_FLUSHES_TO_COMPACTION + 1):
            await bgsave(server)()
            if server.data_bytes() - before_bytes < (flushes - 0.5) * payload_bytes:
                return
        raise ActionFailed(f"no compaction within {MAX_FLUSHES_TO_COMPACTION} flushes")

    return act


async def wait_until_settled(server: ServerProcess) -> None:
    while True:
        persistence = await asyncio.to_thread(_persistence, server)
        if "rdb_bgsave_in_progress" not in persistence:
            raise ActionFailed("INFO persistence has no rdb_bgsave_in_progress, so the end of a flush can't be seen")
        # Redis has no compaction of snapshots, and so no such field.
        running = persistence["rdb_bgsave_in_progress"], persistence.get("compaction_in_progress", "0")
        if running == ("0", "0"):
            break
        await asyncio.sleep(INFO_INTERVAL_S)
    if persistence.get("rdb_last_bgsave_status", "ok") != "ok":
        raise ActionFailed("the background flush failed, says INFO persistence")


def _call(server: ServerProcess, command: str) -> object:
    with server.control() as control:
        return control.call(command)


def _persistence(server: ServerProcess) -> dict[str, str]:
    with server.control() as control:
        return control.info("persistence")
