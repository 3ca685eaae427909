"""Clients that write and read over failovers, and a history of what they were told, for the checker.

    with Load(nodes, seed) as load:
        load.wait_for(200)
        nodes.primary().kill()
        load.wait_for(200)
    print(load.verdict())

Each client has one command on its way at a time, follows whoever leads, and never sends a command again whose outcome it does
not know. Strings, counters and one list are written: in the list each value stands once, in an order that tells the truth.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, NamedTuple, Self

import hiredis

from helpers.linearizability import NEVER, Call, find_violations
from helpers.nodes import DEADLINE_S, Nodes, does_lead
from helpers.servers import encode

CLIENTS = 5
REGISTERS = [f"register{number}" for number in range(14)]
COUNTERS = [f"counter{number}" for number in range(6)]
LIST = "list"
# These errors say that the command was not run.
NOT_RUN = ("READONLY", "LOADING", "MASTERDOWN", "MISCONF")
LOOK_S = 0.005


class Verdict(NamedTuple):
    """What became of a load: counts, and what is wrong."""

    acknowledged: int
    unknown: int
    reads: int
    # How often clients had to look for another primary.
    moves: int
    # The longest time between two acknowledged writes, in seconds.
    longest_gap_s: float
    # Elements of the list that were acknowledged and are not there, or that stand there twice, or in a wrong order.
    lost: list[bytes]
    doubled: list[bytes]
    misplaced: list[bytes]
    violations: dict[str, str]

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.misplaced or self.violations)

    def __str__(self) -> str:
        wrong = f", LOST {self.lost}, DOUBLED {self.doubled}, MISPLACED {self.misplaced}, {self.violations}"
        return (
            f"{self.acknowledged} writes acknowledged, {self.unknown} unknown, {self.reads} reads, {self.moves} moves, "
            f"longest gap {self.longest_gap_s:.3f} s{'' if self.is_right else wrong}"
        )


def longest_gap(times: Sequence[float]) -> float:
    return max((after - before for before, after in pairwise(times)), default=0.0)


class Unanswered(Exception):
    """The connection ended, or nothing came in time, behind a command."""


class Load:
    """Five clients over twenty keys and a list, from the beginning of the `with` block to its end."""

    def __init__(self, nodes: Nodes, seed: int, *, patience_s: float = 0.0, pause_s: float = 0.002) -> None:
        self.nodes = nodes
        # A client waits so long for a reply.
        self.patience_s = patience_s or 2 * nodes.lease_s + 1.0
        self.pause_s = pause_s
        self.failures: list[BaseException] = []
        self._change = threading.Condition()
        self._is_over = False
        self._acknowledged_at: list[float] = []
        self._clients = [_Client(self, number, random.Random(f"{seed} {number}")) for number in range(CLIENTS)]
        self._threads = [threading.Thread(target=client.run, daemon=True) for client in self._clients]
        self._final: dict[str, list[Call]] = {}
        self._list: list[bytes] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._change:
            self._is_over = True
        for thread in self._threads:
            thread.join()
        if error is None:
            if self.failures:
                raise self.failures[0]
            self._read_all()

    @property
    def is_over(self) -> bool:
        return self._is_over

    def note(self, at: float) -> None:
        """A write was acknowledged."""
        with self._change:
            self._acknowledged_at.append(at)
            self._change.notify_all()

    def fail(self, failure: BaseException) -> None:
        with self._change:
            self.failures.append(failure)
            self._change.notify_all()

    def wait_for(self, count: int, deadline_s: float = DEADLINE_S) -> float:
        """Wait until so many more writes were acknowledged that began now or later. Returns when the first one was."""
        with self._change:
            first = len(self._acknowledged_at)
            self._change.wait_for(lambda: self.failures or len(self._acknowledged_at) >= first + count, deadline_s)
            if self.failures:
                raise self.failures[0]
            missing = first + count - len(self._acknowledged_at)
            assert missing <= 0, f"{missing} of {count} writes were not acknowledged in {deadline_s} s:\n{self.nodes.logs()}"
            return self._acknowledged_at[first]

    def gap_since(self, time_s: float) -> float:
        """The longest time since then in which no write was acknowledged, up to the last that was, in seconds."""
        with self._change:
            return longest_gap([time_s, *sorted(at for at in self._acknowledged_at if at > time_s)])

    def _read_all(self) -> None:
        """Read everything behind all that was written, from whoever leads."""
        reader = _Client(self, CLIENTS, random.Random(0))
        for key in (*REGISTERS, *COUNTERS):
            reader.do(key, "GET", None)
        while (found := reader.try_to("LRANGE", LIST, "0", "-1")) is None:
            pass
        self._list = found
        reader.close()
        self._clients.append(reader)

    def verdict(self) -> Verdict:
        """Compare all that clients were told, behind the `with` block."""
        histories: dict[str, list[Call]] = defaultdict(list)
        for client in self._clients:
            for key, calls in client.history.items():
                histories[key] += calls
        pushes = histories.pop(LIST, [])
        pushed = {call.argument or b"": call for call in pushes}
        places = {value: place for place, value in enumerate(self._list)}
        lost = [value for value, call in pushed.items() if call.is_known and value not in places]
        doubled = [value for value, place in places.items() if self._list.index(value) != place]
        # Each element stands behind all whose push had returned before its own began.
        misplaced, latest = [], -1.0
        for value in self._list:
            call = pushed[value]
            if call.returned < latest:
                misplaced.append(value)
            latest = max(latest, call.invoked)
        calls = [call for history in (*histories.values(), pushes) for call in history]
        return Verdict(
            acknowledged=sum(call.is_known and call.command != "GET" for call in calls),
            unknown=sum(not call.is_known and call.command != "GET" for call in calls),
            reads=sum(call.is_known and call.command == "GET" for call in calls),
            moves=sum(client.moves for client in self._clients),
            longest_gap_s=longest_gap(sorted(self._acknowledged_at)),
            lost=lost,
            doubled=doubled,
            misplaced=misplaced,
            violations=find_violations(histories),
        )


class _Client:
    """A client in a thread, and its history by key."""

    def __init__(self, load: Load, number: int, rng: random.Random) -> None:
        self.history: dict[str, list[Call]] = defaultdict(list)
        self.moves = 0
        self._load = load
        self._number = number
        self._rng = rng
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader()
        self._written = 0

    def run(self) -> None:
        try:
            while not self._load.is_over:
                self._draw()
                time.sleep(self._load.pause_s * self._rng.random())
        except BaseException as failure:
            self._load.fail(failure)
        finally:
            self.close()

    def _draw(self) -> None:
        """Run one command."""
        draw = self._rng.random()
        value = b"%d.%d" % (self._number, self._written)
        if draw < 0.1:
            self._written += 1
            self.do(LIST, "RPUSH", value)
        elif draw < 0.4:
            key = self._rng.choice(COUNTERS)
            self.do(key, self._rng.choice(("INCR", "INCR", "GET")), None)
        elif draw < 0.7:
            self._written += 1
            self.do(self._rng.choice(REGISTERS), "SET", value)
        else:
            self.do(self._rng.choice(REGISTERS), "GET", None)

    def do(self, key: str, command: str, argument: bytes | None) -> None:
        """Run a command on whoever leads, and note it. One that was certainly not run is tried again, as a new one."""
        words = (command, key) if argument is None else (command, key, argument)
        while not self._load.is_over or self._number == CLIENTS:
            if not self._find():
                continue
            invoked = time.monotonic()
            try:
                reply = self._ask(*words)
            except Unanswered:
                self._note(key, Call(self._number, command, argument, None, invoked, NEVER))
                self.close()
                if command == "GET":
                    continue
                return
            returned = time.monotonic()
            if isinstance(reply, hiredis.ReplyError):
                assert str(reply).startswith(NOT_RUN), f"{words}: {reply}"
                self.close()
                continue
            told = b"%d" % reply if isinstance(reply, int) else reply
            is_told = command in ("GET", "INCR")
            self._note(key, Call(self._number, command, argument, told if is_told else None, invoked, returned))
            if command != "GET":
                self._load.note(returned)
            return

    def try_to(self, *words: str) -> Any:
        """The reply of whoever leads, or None if that fails."""
        try:
            reply = self._ask(*words) if self._find() else None
        except Unanswered:
            reply = None
        if reply is None or isinstance(reply, hiredis.ReplyError):
            self.close()
            return None
        return reply

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def _note(self, key: str, call: Call) -> None:
        self.history[key].append(call)

    def _find(self) -> bool:
        """Be connected to the node that leads, if one does."""
        if self._socket:
            return True
        self.moves += 1
        for node in self._rng.sample(self._load.nodes.nodes, len(self._load.nodes.nodes)):
            # A process that stands still takes connections, and answers nobody: others are asked first.
            try:
                self._socket = socket.create_connection(("127.0.0.1", node.port), timeout=0.3)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._reader = hiredis.Reader()
                if does_lead(self._ask("ROLE")):
                    self._socket.settimeout(self._load.patience_s)
                    return True
            except (OSError, Unanswered):
                pass
            self.close()
        time.sleep(LOOK_S)
        return False

    def _ask(self, *words: bytes | str) -> Any:
        assert self._socket
        try:
            self._socket.sendall(encode(*words))
            while (reply := self._reader.gets()) is False:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise Unanswered
                self._reader.feed(data)
        except OSError as error:
            raise Unanswered from error
        return reply
