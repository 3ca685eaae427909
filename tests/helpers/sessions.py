"""A server's state without a server: sessions whose commands go through the gate, on a clock that a test moves."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import cache
from typing import Any, ParamSpec, TypeVar, cast

from helpers.documents import exact
from helpers.servers import IS_COMPILED
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring, Value
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import fork, is_changed_in_place
from kvserver.data.recording import Recording
from kvserver.data.records import Records
from kvserver.data.shards import Access, Shard
from kvserver.dispatch.command import Command
from kvserver.dispatch.effect import Ahead, Effect, Released
from kvserver.dispatch.table import CommandTable
from kvserver.dispatch.timing import SAMPLE_COMMANDS
from kvserver.errors import CommandError
from kvserver.options.config import Config
from kvserver.resp.reply import Error, Reply, Simple
from kvserver.state.session import ServerState, Session

START_MS = 1_700_000_000_000

P = ParamSpec("P")
R = TypeVar("R")


class Clock:
    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


class State(ServerState):
    """The state, and what a server's engine has beside it."""

    def __init__(self, *args: Any, **by_name: Any) -> None:
        super().__init__(*args, **by_name)
        self.table = CommandTable(cast(Mapping[bytes, Command], self.commands), self.usages)


@cache
def _guarding() -> type[Keyspace]:
    """The class of keyspaces that guard what they hold. Tests may change data as they like."""
    # No interpreted class can inherit from a compiled one, so that only the interpreted run guards.
    if IS_COMPILED:
        return Keyspace

    class GuardedKeyspace(Keyspace):
        def __init__(self, now_ms: Callable[[], int], records: Records, number: int) -> None:
            # The values that `live` and `own` gave, each with a fork that was made of it then.
            self._read: list[tuple[Any, Any]] = []
            self._owned: dict[bytes, tuple[Any, Any]] = {}
            super().__init__(now_ms, records, number)

        def _bind(self, plain: Access) -> None:
            super()._bind(plain)
            self.set, self.delete = _guarded(self._unfrozen(self.set)), _guarded(self.delete)
            self.set_expiring = _guarded(self.set_expiring)
            self.set_many = _guarded(super().set_many)  # type: ignore[method-assign]
            self.set_pairs = _guarded(super().set_pairs)  # type: ignore[method-assign]

        def _unfrozen(self, plain: Callable[[bytes, Any], None]) -> Callable[[bytes, Any], None]:
            def set_(key: bytes, entry: Any) -> None:
                value = entry.value if isinstance(entry, Expiring) else entry
                if self._cut and is_changed_in_place(value):
                    frozen = (each for shard in self._cut.shards for each in shard.values())
                    assert all(value is not (each.value if isinstance(each, Expiring) else each) for each in frozen), (
                        f"what is stored under {key!r} is frozen, and would be changed in place"
                    )
                plain(key, entry)

            return set_

        def live(self, key: bytes) -> Value | None:
            return self._noted(super().live(key))

        def read(self, key: bytes) -> Value | None:
            return self._noted(super().read(key))

        def _noted(self, value: Value | None) -> Value | None:
            if value is not None and is_changed_in_place(value):
                self._read.append((value, fork(value)))
            return value

        def own(self, key: bytes) -> Value | None:
            value = super().own(key)
            if value is not None and is_changed_in_place(value):
                self._read = [pair for pair in self._read if pair[0] is not value]
                self._owned.setdefault(key, (value, fork(value)))
            return value

        def own_plain(self, key: bytes, value: Value) -> Value:
            assert self.peek(key) is value, "a value that is to be changed is not the one that is there"
            owned = self.own(key)
            assert owned is not None
            return owned

        def put_as(self, key: bytes, value: Value, request: list[bytes]) -> None:
            super().put_as(key, value, request)
            self._owned.pop(key, None)

        def put_many(self, members: Iterable[tuple[bytes, Value]], requests: list[list[bytes]]) -> None:
            pairs = list(members)
            super().put_many(pairs, requests)
            for key, _ in pairs:
                self._owned.pop(key, None)

        def put_sets(self, requests: list[list[bytes]]) -> None:
            super().put_sets(requests)
            for request in requests:
                self._owned.pop(request[1], None)

        def change(self, key: bytes, value: Value | None, request: list[bytes]) -> None:
            super().change(key, value, request)
            self._owned.pop(key, None)

        def move(self, key: bytes, value: Value, target: Recording) -> None:
            super().move(key, value, target)
            self._owned.pop(key, None)

        def remove(self, *keys: bytes) -> None:
            super().remove(*keys)
            for key in keys:
                self._owned.pop(key, None)

        def check_values(self) -> None:
            """Fail if the command that has run changed a value that it only read, or told nobody that it changed one."""
            read, owned = self._read, self._owned
            self._read, self._owned = [], {}
            assert all(exact(value) == exact(before) for value, before in read), "a value that was only read was changed"
            for key, (value, before) in owned.items():
                assert exact(value) == exact(before), f"the value of {key!r} was changed, and nothing is recorded"

        def replace(self, shards: list[Shard]) -> list[Shard]:
            return _guarded(super().replace)(shards)

        def put_equal(self, key: bytes, value: Value) -> None:
            assert exact(self.peek_live(key)) == exact(value), "what is held in another form must be equal to what was there"
            super().put_equal(key, value)

    return GuardedKeyspace


def guarded_databases(now_ms: Callable[[], int]) -> Databases:
    """Databases that raise where the package changes data without a door of a keyspace, so that nothing would be recorded.

    `run` asks them behind each command if a value was changed that is read only, or changed in place without a record.
    """
    return Databases(now_ms, _guarding())


def _guarded(unrecorded: Callable[P, R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        frame = sys._getframe(1)
        while frame.f_globals["__name__"] == __name__ and frame.f_back:
            frame = frame.f_back
        caller = frame.f_globals["__name__"]
        if caller.startswith("kvserver.") and not caller.startswith("kvserver.data."):
            raise AssertionError(f"{caller} changes data and records nothing")
        return unrecorded(*args, **kwargs)

    return call


class Server:
    """The state, its clock, and sessions."""

    def __init__(self, commands: Mapping[bytes, Command] = COMMANDS) -> None:
        self.clock = Clock()
        databases = guarded_databases(self.clock)
        self.keyspace = databases[0]
        self.random = random.Random(1)
        self.state = State(
            Config(),
            databases,
            commands,
            self.clock,
            random_below=self.random.randrange,
            now_us=lambda: self.clock.now_ms * 1000 + 7,
            started_at_ms=START_MS,
        )
        self.table = self.state.table

    def set_password(self, password: bytes) -> None:
        """Have a password for the default user, as requirepass."""
        self.state.config.requirepass = password
        self.state.users.default.set_password(password)
        self.state.note_rights(self.state.users.default)

    def session(self, *, is_local: bool = True) -> Session:
        number = len(self.state.sessions) + 1
        session = Session(self.state, number, f"127.0.0.1:{number}", "127.0.0.1:6379", is_local)
        self.state.sessions[number] = session
        return session


def run(session: Session, *words: bytes | str | int) -> Reply | Effect:
    """Run a command and return its reply, an Error or an effect."""
    args = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    state = session.server
    assert isinstance(state, State)
    try:
        reply = state.table.call(session, args)
        while isinstance(reply, Ahead):
            session.ready = args, _end_of(reply.steps)
            reply = state.table.call(session, args)
            if isinstance(reply, Released):
                reply = reply.result  # type: ignore[assignment]
        if isinstance(reply, CommandError):
            raise reply
    except CommandError as error:
        reply = Error(str(error))
    finally:
        session.ready = None
    for keyspace in state.databases:
        if hasattr(keyspace, "check_values"):
            keyspace.check_values()
    return reply


def _end_of(steps: Generator[None, None, object]) -> object:
    """What steps return."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def measured(server: Server) -> Server:
    """A server that measures its commands only now and then, as all do behind their first ones."""
    for _ in range(SAMPLE_COMMANDS):
        run(server.session(), "PING")
    return server


def text(reply: Any) -> str:
    """The text of a simple string or an error; fails for anything else."""
    assert isinstance(reply, (Simple, Error)), reply
    return reply.text
