"""A server under test as a process of its own, on a free loopback port, in a folder that is thrown away.

Owns starting, waiting for readiness, restarting and stopping, and copies of its data. Must never measure anything but its own
start, and must never leave a process behind.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.control import Control, ErrorReply
from bench.failure import BenchFailed
from bench.kinds import Ability, ServerKind
from bench.procfs import ProcessFiles

READY_DEADLINE_S = 120.0
# A start-up time may be too long by this. To ask more often would cost the server that starts.
RETRY_S = 0.002
# Variables of the environment that a server does not get. The first would be options of kvserver, and what the tests are told
# is none; without the other kvserver's modules are compiled once, as they are where it is installed.
LEFT_OUT = ("KVSERVER_", "PYTHONDONTWRITEBYTECODE")


class StartFailed(BenchFailed):
    """The server ended or stayed silent; the message carries the end of its log."""


class ServerProcess:
    """A server of a kind, with options and variables besides those that all get, while a `with` statement runs."""

    def __init__(
        self,
        kind: ServerKind,
        extra_args: Sequence[str] = (),
        parent: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self._environment = environment or {}
        self.port = 0
        # The time from the start of the program to the first answer with all data loaded.
        self.startup_s = 0.0
        self._extra_args = tuple(extra_args)
        self._parent = parent
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-", dir=self._parent)
        self.data_folder.mkdir()
        try:
            self._start()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def data_folder(self) -> Path:
        return self._root / "data"

    @property
    def proc(self) -> ProcessFiles:
        return ProcessFiles(self._running.pid)

    def data_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.data_folder.rglob("*") if path.is_file())

    def restart(self, extra_args: Sequence[str] | None = None) -> None:
        """Kill the server and start it on the same data, with other extra arguments if they are given."""
        self.kill()
        if extra_args is not None:
            self._extra_args = tuple(extra_args)
        self._start()

    def copy_data(self) -> None:
        """Keep what is on disk now, for `restart_from_copy`. The server must not be writing."""
        shutil.copytree(self.data_folder, self._copy)

    def restart_from_copy(self) -> None:
        """Kill the server and start it on what `copy_data` has kept, however often."""
        self.kill()
        shutil.rmtree(self.data_folder)
        shutil.copytree(self._copy, self.data_folder)
        self._start()

    def control(self) -> Control:
        return Control(self.port)

    @property
    def _root(self) -> Path:
        if self._folder is None:
            raise RuntimeError("the server is used outside its with block")
        return Path(self._folder.name)

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    @property
    def _copy(self) -> Path:
        return self._root / "copy"

    @property
    def _log(self) -> Path:
        return self._root / "server.log"

    def _start(self) -> None:
        self.port = free_port()
        started_at = time.perf_counter()
        with self._log.open("ab") as log:
            # The server has a session of its own, so that stopping reaches forked children, too.
            self._process = subprocess.Popen(
                [*self.kind.program(), *self.kind.options(self.port, self.data_folder), *self._extra_args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
                | dict(self._environment),
                start_new_session=True,
            )
        try:
            self._wait_until_ready(started_at + READY_DEADLINE_S)
        except BaseException:
            self.kill()
            raise
        self.startup_s = time.perf_counter() - started_at

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._is_ready():
            try:
                # The pause between two attempts is a wait for the server's end: a failed start is seen at once.
                code = self._running.wait(RETRY_S)
            except subprocess.TimeoutExpired:
                if time.perf_counter() > deadline:
                    raise StartFailed(
                        f"{self.kind} gave no answer in {READY_DEADLINE_S:.0f} s: {self._last_words()}"
                    ) from None
            else:
                raise StartFailed(f"{self.kind} ended with code {code}: {self._last_words()}")

    def _is_ready(self) -> bool:
        try:
            with Control(self.port, timeout_s=READY_DEADLINE_S) as control:
                if control.call("PING") != b"PONG":
                    return False
                # A server may answer PING while it still loads; INFO tells the two apart.
                loads = Ability.PERSISTENCE in self.kind.abilities
                return not loads or control.info("persistence").get("loading", "0") == "0"
        except ConnectionError:
            return False
        except ErrorReply as error:
            if str(error).startswith("LOADING"):
                return False
            raise StartFailed(f"{self.kind} does not answer PING: {error}") from error

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"

    def terminate(self) -> None:
        """Tell the server to leave, and don't wait for it."""
        self._running.terminate()

    def kill(self) -> None:
        """End the server as a crash does; what it has written stays, and it can be started again."""
        if self._process is None:
            return
        # The server is killed, not asked: nothing of a benchmark is worth a last flush, and this can't be refused.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
