"""What tests of a node's parts need: a clock, an engine whose appends a test holds back, and the parts themselves."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.errors import MediumError
from kvserver.failover.lease import Lease
from kvserver.failover.sender import Sender
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.memory_engine import open_memory_engine
from kvserver.media.shared import Engine, Entry, Mark, Tip
from kvserver.options.config import Config
from kvserver.state.session import ServerState

_numbers = itertools.count()


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fresh_engine() -> Engine:
    """An engine in memory that no other test uses."""
    return open_memory_engine(f"parts-{next(_numbers)}")


class HeldLog:
    """A log whose appends wait until they are let through, in any order, and may be told to fail."""

    def __init__(self, engine: Engine, *, most_in_flight: int = 1, max_append_bytes: int = 1 << 20) -> None:
        self.most_in_flight = most_in_flight
        self.max_append_bytes = max_append_bytes
        self._log = engine.log
        self._permits: dict[int, threading.Event] = {}
        self._lock = threading.Lock()
        self.begun: list[int] = []
        self.fails: dict[int, Exception] = {}
        self.is_open = False

    def _permit(self, number: int) -> threading.Event:
        with self._lock:
            return self._permits.setdefault(number, threading.Event())

    def let_through(self, number: int) -> None:
        """Let the append of the entry with this number (Mark.number) go on."""
        self._permit(number).set()

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        self.begun.append(mark.number)
        if not self.is_open:
            assert self._permit(mark.number).wait(10)
        if error := self.fails.pop(mark.number, None):
            raise error
        if self.most_in_flight > 1:
            return Position(mark.epoch, after.number + 1)
        return self._log.append(data, mark, after)

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        return self._log.read(after, wait_s)

    def trim(self, upto: Position) -> None:
        self._log.trim(upto)

    def close(self) -> None:
        self.is_open = True


class PromptHeldLog(HeldLog):
    """The same log, whose appends begin without a thread of the sender's."""

    def begin_append(self, data: bytes, mark: Mark, after: Position, done: Callable[[Position | MediumError], None]) -> None:
        def work() -> None:
            try:
                result: Position | MediumError = self.append(data, mark, after)
            except MediumError as error:
                result = error
            done(result)

        threading.Thread(target=work, daemon=True).start()


class Sending:
    """A sender on such a log, with what it has told."""

    def __init__(self, log: HeldLog, clock: Clock, *, appendfsync: str = "always") -> None:
        config = Config()
        config.appendfsync = appendfsync
        self.clock = clock
        self.state = ServerState(config, Databases(lambda: 0), COMMANDS, lambda: 7)
        self.lease = Lease(10, clock)
        self.sender = Sender(self.state, log, self.lease, self.state.replication.engine)
        self.told: list[str] = []
        self.on_safe: Callable[[], None] = lambda: None
        self.sender.on_safe = lambda: self.on_safe()
        self.sender.on_lost = lambda: self.told.append("lost")
        self.sender.pause = lambda: self.told.append("pause")
        self.sender.resume = lambda: self.told.append("resume")
        self.sender.on_refused = lambda reason: self.told.append(f"refused: {reason}")

    def begin(self, tip: Tip | None = None) -> None:
        self.sender.begin(tip or Tip(BEGINNING), 1, self.clock.now)

    def set(self, value: bytes) -> None:
        self.sender.take([[b"SET", b"k", value]], 1)


def table_of(state: ServerState) -> CommandTable:
    return CommandTable(COMMANDS, state.usages, lambda: 0)
