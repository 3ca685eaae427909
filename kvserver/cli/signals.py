"""The signals that a server alone in its process acts on: the first means SHUTDOWN, and a second one ends it at once.

A subcommand is ended by them as by ctrl-C: what it has begun is cleaned up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

from kvserver.server import Server

# A shell tells by so much more than its number that a signal has ended a program.
_EXIT_BY_SIGNAL: Final = 128
# Windows has no SIGHUP.
_ENDING: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

_log = logging.getLogger("kvserver")


class Signals:
    """The signals for a server, on the event loop that runs. `attend` once, before the server starts."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # A signal has told the server to leave.
        self._leaving: asyncio.Task[None] | None = None

    def attend(self) -> None:
        """Act on SIGTERM, SIGINT and SIGHUP as on SHUTDOWN, and leave at once at the second signal."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # `nohup` has a program started with SIGHUP ignored.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._leaving:
            _log.warning("received a second signal, leaving at once without a flush")
            os._exit(1)
        _log.info("received %s, shutting down", number.name)
        self._server.supervisor.tell_leaving()
        self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        await self._server.leave()
        # The server is still here, since the flush failed.
        self._leaving = None
        self._server.supervisor.tell_ready("could not shut down, since the data could not be saved: see the log")


@contextmanager
def unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit in the block, so that files that are half written go, and pauses end."""
    taken: list[int] = []
    # Only the main thread takes signals: in another one a ValueError says so.
    with suppress(ValueError):
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _unwind)
                taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _unwind(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(_EXIT_BY_SIGNAL + number)
