"""Real kvserver processes over one engine: started, killed, stopped and continued by their ids, and asked who leads.

with Nodes(folder, f"file:{folder}/engine", count=2, lease_ms=500) as nodes:
    primary = nodes.primary()
    primary.kill()
    assert nodes.primary() is not primary
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from helpers.servers import ServerProcess, Wire

# Where an engine elects a leader of its own, this takes the longest of all.
DEADLINE_S = 30.0
LOOK_S = 0.01


class Node(ServerProcess):
    """One kvserver on an engine, or by itself where `medium` is empty. The `with` block may end with it killed or stopped."""

    def __init__(self, directory: Path, medium: str, *options: str) -> None:
        super().__init__("kvserver", directory, *options)
        self.is_stopped = False
        self._medium = medium

    def place(self) -> list[str]:
        return ["--medium", self._medium] if self._medium else super().place()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop_still(self) -> None:
        """Stop the process where it stands (SIGSTOP), until `go_on`."""
        self.is_stopped = True
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.is_stopped = False
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        super().kill()
        self.is_stopped = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.is_stopped:
            self.go_on()
        super().__exit__(kind, error, trace)

    def leads(self, timeout_s: float = 1.0) -> bool:
        """True if the node leads, by its own word, and may answer."""
        with suppress(OSError, EOFError), Wire(self.port, timeout_s) as wire:
            return does_lead(wire.value("ROLE"))
        return False


def does_lead(role: object) -> bool:
    """True if this reply to ROLE is that of a node which leads."""
    return isinstance(role, list) and role[0] == b"master"


class Nodes:
    """Some nodes over one engine; a single one may have none.

    All run when the `with` block begins, and one of them leads; none is left when it ends.
    """

    def __init__(self, folder: Path, medium: str, count: int = 2, lease_ms: int = 1000, *options: str) -> None:
        self.nodes: list[Node] = []
        self._folder = folder
        self._options = ["--lease-milliseconds", str(lease_ms), *options]
        self._media = [medium] * count
        self._stack = ExitStack()
        self.lease_s = lease_ms / 1000

    def reach(self, number: int, medium: str) -> None:
        """Let a node use this URL for the engine: that of a proxy, say. This comes before the `with` block."""
        self._media[number] = medium

    def __enter__(self) -> Self:
        try:
            for number, medium in enumerate(self._media):
                directory = self._folder / f"node{number}"
                directory.mkdir()
                node = Node(directory, medium, *self._options)
                self.nodes.append(self._stack.enter_context(node))
            self.primary()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    def primary(self, *, other_than: Node | None = None, deadline_s: float = DEADLINE_S) -> Node:
        """The node that leads, as soon as one does."""
        end = time.monotonic() + deadline_s
        while True:
            for node in self.nodes:
                if node is not other_than and node.is_running and not node.is_stopped and node.leads():
                    return node
            assert time.monotonic() < end, f"nobody leads after {deadline_s} s:\n{self.logs()}"
            time.sleep(LOOK_S)

    def standbys(self) -> list[Node]:
        """The nodes that run and don't lead."""
        return [node for node in self.nodes if node.is_running and not node.is_stopped and not node.leads()]

    def logs(self) -> str:
        return "\n".join(f"--- {node.directory.name}, port {node.port}\n{node.log_text()}" for node in self.nodes)
