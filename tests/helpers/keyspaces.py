"""Keyspaces for tests: filled ones, the clock and the witness of one, and a machine that does everything to it at random."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from helpers import models
from helpers.models import Held, State
from helpers.small_chunks import held_of
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.clocks import Clocks
from kvserver.data.databases import Databases
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.expiry import SWEEP_REST_MS
from kvserver.data.freeze import Cut
from kvserver.data.keyspace import Keyspace
from kvserver.data.recording import EXPIRED
from kvserver.data.shards import Access, Shard, drain, load_shards, new_shards, shard_of
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.formats.encoder import encode
from kvserver.options.config import Config
from kvserver.state.session import ServerState, Session
from kvserver.types import TAGGED

KEYS = [b"key%d" % number for number in range(12)]
# The keys that are mostly used for each type.
KEYS_OF = {"any": KEYS, "b": KEYS[:1], "h": KEYS[:2], "l": KEYS[2:4], "s": KEYS[4:7], "z": KEYS[7:10], "x": KEYS[10:]}
keys = st.sampled_from(KEYS)
values: st.SearchStrategy[Value] = st.sampled_from([b"a", b"b", JSONText(b"1"), JSONText(b"[]")])
times = st.sampled_from([0, 1, 50, 100])


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def contents(cut: Cut) -> dict[bytes, Entry]:
    return {key: entry for shard in cut.shards for key, entry in shard.items()}


def is_due(held: Held, now_ms: int) -> bool:
    return held.expires_at_ms is not None and held.expires_at_ms <= now_ms


def exact(held: Held | None) -> tuple[Held, type] | None:
    """A form that is equal only for values of the same type: a string and a document, or a hash and a sorted set, differ."""
    return held and (held, type(held.value))


class KeyspaceMachine(RuleBasedStateMachine):
    """Everything that can happen to a keyspace, with a model that says what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        databases = Databases(self.clock)
        self.keyspace = databases[0]
        server = ServerState(Config(), databases, {}, self.clock, random_below=Random(1).randrange)
        self.session = Session(server, 1, "test", "test", is_local=True)
        self.model: State = {}
        self.unfolded: list[tuple[Cut, State]] = []
        self.folds: list[tuple[Cut, Iterator[None]]] = []
        self.drains: list[Iterator[None]] = []
        # A cut freezes the keyspace until it is folded to its end or its data is replaced.
        self.frozen_by: Cut | None = None

    # What commands do

    @rule(key=keys, value=values)
    def set(self, key: bytes, value: Value) -> None:
        self.keyspace.set(key, value)
        self.model[key] = held_of(value)

    @rule(key=keys, value=values, expires_at_ms=times)
    def set_expiring(self, key: bytes, value: Value, expires_at_ms: int) -> None:
        self.keyspace.set_expiring(key, value, expires_at_ms)
        self.model[key] = Held(held_of(value).value, expires_at_ms)

    @rule(key=keys, expires_at_ms=times)
    def expire(self, key: bytes, expires_at_ms: int) -> None:
        self.live(key)
        if key in self.model:
            self.keyspace.expire(key, expires_at_ms)
            self.model[key] = self.model[key]._replace(expires_at_ms=expires_at_ms)

    @rule(seed=st.integers(0, 1 << 32))
    def commands(self, seed: int) -> None:
        """Some commands about collections, which change small ones and large ones, and many in place."""
        rng = Random(seed)
        for _ in range(rng.choice((10, 30))):
            self.command(models.random_call(rng, KEYS_OF, lambda: rng.choice((b"v", b"w" * 65))))

    def command(self, request: list[bytes]) -> None:
        keyspace = self.keyspace
        keyspace.records.take()
        is_refused = False
        try:
            COMMANDS[request[0].lower()].handler(self.session, request)
        except CommandError:
            is_refused = True
        written = keyspace.records.take()
        replayed = self.model.copy()
        for record in written:
            models.apply(replayed, record)
        for record in written:
            if record[0] == EXPIRED:
                models.apply(self.model, record)
        if request[0] in models.RANDOM:
            self.model = replayed
            return
        try:
            models.apply(self.model, request)
        except models.Refused:
            assert is_refused, request
        else:
            assert not is_refused, request
        assert self.model == replayed, f"{request} is recorded as {written}"

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        assert self.keyspace.delete(key) == (key in self.model)
        self.model.pop(key, None)

    @rule(key=keys)
    def live(self, key: bytes) -> None:
        held = self.model.get(key)
        expired = self.keyspace.expired
        if held is not None and is_due(held, self.clock.now_ms):
            del self.model[key]
            assert self.keyspace.live(key) is None
            assert self.keyspace.expired == expired + 1
        else:
            value = self.keyspace.live(key)
            assert exact(None if value is None else held_of(value)) == exact(held and held._replace(expires_at_ms=None))
            assert self.keyspace.expired == expired

    @rule(milliseconds=st.sampled_from([1, 49, 50]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock.now_ms += milliseconds

    @rule(calls=st.sampled_from([1, 3, 10**9]))
    def sweep(self, calls: int) -> None:
        """Removes what is due and nothing else; when it says that it has finished, nothing due is left."""
        expired = self.keyspace.expired
        for _ in range(calls):
            if not self.keyspace.sweep():
                break
        left = {key for key, _ in self.keyspace.members()}
        gone = {key: held for key, held in self.model.items() if key not in left}
        assert all(is_due(held, self.clock.now_ms) for held in gone.values())
        assert self.keyspace.expired == expired + len(gone)
        for key in gone:
            del self.model[key]

    @precondition(lambda self: self.frozen_by is None)
    @rule()
    def sweep_when_all_have_rested(self) -> None:
        self.clock.now_ms += 1 + round(SWEEP_REST_MS * len(KEYS))
        self.sweep(10**9)
        assert not any(is_due(held, self.clock.now_ms) for held in self.model.values())

    @rule()
    def expiries_are_counted(self) -> None:
        assert self.keyspace.expiries()[0] == sum(held.expires_at_ms is not None for held in self.model.values())

    @rule(members=st.dictionaries(keys, values | st.builds(Expiring, values, times)))
    def replace(self, members: dict[bytes, Entry]) -> None:
        shards = new_shards()
        load_shards(shards, members.items())
        self.drains.append(drain(self.keyspace.replace(shards)))
        self.model = {key: held_of(entry) for key, entry in members.items()}
        self.frozen_by = None

    # What a snapshot does

    @rule()
    def cut(self) -> None:
        if self.frozen_by is not None:
            with pytest.raises(RuntimeError):
                self.keyspace.cut()
            return
        self.frozen_by = self.keyspace.cut()
        self.unfolded.append((self.frozen_by, self.model.copy()))

    @precondition(lambda self: self.unfolded)
    @rule(data=st.data())
    def begin_fold(self, data: st.DataObject) -> None:
        cut, then = self.unfolded.pop(data.draw(st.integers(0, len(self.unfolded) - 1)))
        assert b"".join(encode([cut], TAGGED)) == models.payload({0: then})
        self.folds.append((cut, self.keyspace.fold(cut)))
        self.step_fold(data)

    @precondition(lambda self: self.folds)
    @rule(data=st.data())
    def step_fold(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.folds) - 1))
        cut, fold = self.folds[index]
        for _ in range(data.draw(st.sampled_from([1, 2, 10**9]))):
            if next(fold, StopIteration) is StopIteration:
                del self.folds[index]
                self.frozen_by = None if self.frozen_by is cut else self.frozen_by
                break

    @precondition(lambda self: self.drains)
    @rule()
    def free_what_was_replaced(self) -> None:
        for _ in self.drains.pop(0):
            pass

    # What always holds

    @invariant()
    def keyspace_is_the_model(self) -> None:
        assert len(self.keyspace) == len(self.model)
        members = dict(self.keyspace.members())
        assert len(members) == len(self.model)
        for key in KEYS:
            entry, held = self.keyspace.get(key), self.model.get(key)
            assert entry is members.get(key)
            assert exact(None if entry is None else held_of(entry)) == exact(held)
            assert self.keyspace.expires_at_ms(key) == (held.expires_at_ms if held else None)

    @invariant()
    def it_is_known_that_there_is_an_expiry(self) -> None:
        assert self.keyspace.deadlines.has_any or not any(held.expires_at_ms is not None for held in self.model.values())
        for key, held in self.model.items():
            assert self.keyspace.deadlines.may_be_in(shard_of(key)) or held.expires_at_ms is None

    @invariant()
    def cuts_are_the_model_at_their_instant(self) -> None:
        for cut, then in self.unfolded:
            assert len(cut) == len(then)
            found = contents(cut)
            assert found.keys() == then.keys()
            assert all(entry is cut.lookup(key) and exact(held_of(entry)) == exact(then[key]) for key, entry in found.items())


def filled(count: int) -> Keyspace:
    keyspace = Keyspace(lambda: 0)
    for number in range(count):
        keyspace.set(b"%d" % number, b"old")
    return keyspace


class Noting:
    """The witness that clocks are part of."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks

    def wrap(self, plain: Access) -> Access:
        return self.clocks.wrap(plain)

    def restart(self) -> list[Shard]:
        return self.clocks.restart()
