"""A server within a Python program that has no event loop for it: the server has a thread with a loop of its own.

Knows nothing of what a server is made of: it starts the thread, and passes on what is asked of the server.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

from kvserver.control.clock import Clock
from kvserver.control.faults import Faults
from kvserver.control.onloop import OnLoop
from kvserver.errors import MediumError, NotRunning
from kvserver.server import Server


def running(**options: Any) -> RunningServer:
    """A server that runs in a thread of its own as long as the block lasts.

    >>> import kvserver, redis
    >>> with kvserver.running() as server:
    ...     client = redis.Redis.from_url(server.url, decode_responses=True)
    ...     client.set("name", "Ada")
    ...     client.get("name")
    ...     client.close()
    True
    'Ada'

    The options are those of `Server`: without `dir` it has nothing on the disk, and without `port` it has one that is free.
    Several may run at once. The caller may have an event loop, which waits while the server starts, some milliseconds.

    ConfigError at once for what is no option or a wrong value; StartError at the start for a port in use, or a folder that
    another one holds: one line each, and nothing is left behind.
    """
    return RunningServer(Server(**options))


class RunningServer:
    """A server and its thread. All methods and properties may be used from any thread.

    In a process that was forked from this one, the addresses are still those of the server. The rest raises NotRunning there,
    and the end of the block does nothing.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._thread: threading.Thread | None = None
        # The thread's loop, which outlives a server that ends by itself.
        self._on_loop = OnLoop()
        self._ending = asyncio.Event()
        self._has_ended = threading.Event()
        # Whoever starts or ends the server holds it. A signal's handler may interrupt that with a call of its own.
        self._turn = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.is_elsewhere:
            self.stop()

    def __repr__(self) -> str:
        return f"<kvserver at {self.url}>" if self.is_running else "<kvserver, not running>"

    # Where it is

    @property
    def url(self) -> str:
        """The URL for clients on this machine, such as redis://127.0.0.1:6379/0: `redis.Redis.from_url` takes it."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port that it listens on: that of TCP, or else that of TLS. 0 if there is a Unix socket alone."""
        return self._server.port

    @property
    def address(self) -> str:
        """The host and the port, such as 127.0.0.1:6379; or the path of the Unix socket, if there is nothing else."""
        return self._server.address

    @property
    def is_running(self) -> bool:
        """True if it serves. False before the start, after the end, a SHUTDOWN or a crash, and in a process forked off."""
        return self._server.is_running and not self.is_elsewhere

    @property
    def is_elsewhere(self) -> bool:
        """True in a process that was forked from the one where the server runs."""
        return self._on_loop.is_elsewhere

    @property
    def clock(self) -> Clock:
        """The server's clock, which a test moves forward."""
        return self._server.clock

    @property
    def faults(self) -> Faults:
        """The faults that a test can have happen."""
        return self._server.faults

    # Its life

    def start(self) -> None:
        """Start the server. It serves when this returns. Does nothing if it runs.

        StartError if it can't start, NotRunning in a process that was forked off.
        """
        self._on_loop.must_be_here()
        with self._turn:
            if not self._is_ending and self.is_running:
                return
            self._run_on_thread(self._server.start)

    def stop(self) -> None:
        """End the server as SHUTDOWN does, and its thread. Does nothing if it has ended.

        MediumError if the folder's data could not be saved; the server has ended all the same. What was only in memory is
        gone. NotRunning in a process that was forked off.

        A KeyboardInterrupt meanwhile is raised when the server has ended. A second one is raised at once: then the server
        ends in its thread, and another call waits for that.
        """
        self._on_loop.must_be_here()
        with self._turn:
            try:
                if self._thread and not self._is_ending:
                    self._on_loop.wait_for(self._server.stop())
            finally:
                self._end_thread()

    def restart(self) -> None:
        """Start the server again, on the same port: after a crash with what was kept, and else after a SHUTDOWN with all data.

        StartError as for `start`, MediumError as for `stop`.
        """
        self._on_loop.must_be_here()
        with self._turn:
            self._run_on_thread(self._server.restart)

    def empty(self) -> None:
        """Make the server as good as new, for the next test (`Server.empty`)."""
        self._on_loop.wait_for(self._server.empty())

    @property
    def _is_ending(self) -> bool:
        """True if the thread was told to end. It may still be there, if the one who waited for it was interrupted."""
        return self._thread is not None and self._ending.is_set()

    def _run_on_thread(self, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the server start, on its thread. After an exception there is neither."""
        if self._is_ending:
            self._end_thread()
        if self._thread is None:
            self._begin_thread()
        try:
            self._on_loop.wait_for(start())
        except BaseException:
            self._end_thread()
            raise

    def _begin_thread(self) -> None:
        is_up = threading.Event()
        self._has_ended.clear()
        self._thread = threading.Thread(target=lambda: self._run(is_up), name="kvserver", daemon=True)
        self._thread.start()
        is_up.wait()

    def _end_thread(self) -> None:
        if thread := self._thread:
            # It may have been told so before, and be gone.
            with suppress(NotRunning):
                self._on_loop.run(self._ending.set)
            # A join that is interrupted takes the thread for one that has ended, in some versions of Python.
            self._has_ended.wait()
            thread.join()
            self._thread = None

    def _run(self, is_up: threading.Event) -> None:
        """The thread: an event loop on which others start the server."""

        async def serve() -> None:
            self._ending = asyncio.Event()
            self._on_loop.begin(asyncio.get_running_loop())
            is_up.set()
            await self._ending.wait()
            # Whoever has the server start or end may have been interrupted: it ends here. Its log has what goes wrong.
            with suppress(MediumError):
                await self._server.stop()
            self._on_loop.end()

        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(serve())
        finally:
            self._has_ended.set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
