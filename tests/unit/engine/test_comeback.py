"""Keys that come back are those that are not what they were, whatever is written while they are found."""

from __future__ import annotations

import asyncio
import random

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import kind_of
from kvserver.dispatch.effect import Recreated
from kvserver.engine import comeback
from kvserver.engine.comeback import TOO_MANY_KEYS, Comeback
from kvserver.errors import CommandError
from kvserver.patterns import matcher
from kvserver.persistence.past import Past
from kvserver.persistence.slices import Slices
from kvserver.state.written import Written


class Scene:
    """A past and a present, which begin with the same keys."""

    def __init__(self) -> None:
        self.then, self.now = Server(), Server()
        self.past = Past(self.then.state)
        self.session = self.now.session()

    def both(self, *words: str | int) -> None:
        run(self.then.session(), *words)
        run(self.session, *words)

    def begin(self, pattern: bytes = b"*") -> Comeback:
        self.past.settle(START_MS)
        matches = matcher(pattern)
        written = Written(self.now.state.databases, 0, matches, self.now.state.commands)
        return Comeback(self.past, self.now.keyspace, matches, written, START_MS)

    def find(self, pattern: bytes = b"*") -> Comeback:
        found = self.begin(pattern)
        state = self.now.state
        asyncio.run(found.find(Slices(state.counters, state.persistence)))
        return found


def content(keyspace: Keyspace) -> dict[bytes, tuple[bytes, int | None]]:
    return {key: (kind_of(value).json(value)[1], keyspace.expires_at_ms(key)) for key, value in keyspace.members()}


def shown(changes: dict[bytes, Recreated | None] | None) -> dict[bytes, object]:
    assert changes is not None
    return {key: then and (kind_of(then.value).json(then.value)[1], then.expires_at_ms) for key, then in changes.items()}


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    for words in (("MSET", "a", 1, "b", 2, "c", 3, "x", 4), ("RPUSH", "l", *range(5)), ("PEXPIREAT", "c", START_MS + 9000)):
        scene.both(*words)
    return scene


def test_only_what_is_not_the_same_comes_back(scene: Scene) -> None:
    found = scene.find()
    assert (found.count, found.changes()) == (5, {})
    run(scene.session, "SET", "a", "other")
    run(scene.session, "DEL", "l")
    run(scene.session, "SET", "new", 1)
    run(scene.session, "PERSIST", "c")
    found = scene.find()
    assert found.count == 5
    changes = {b"a": (b'"1"', None), b"l": (b'["0","1","2","3","4"]', None), b"new": None, b"c": (b'"3"', START_MS + 9000)}
    assert shown(found.changes()) == changes
    assert not scene.now.state.databases.records.observers


def test_pattern_chooses(scene: Scene) -> None:
    run(scene.session, "MSET", "a", "other", "b", "other")
    found = scene.find(b"[bx]")
    run(scene.session, "MSET", "a", "again", "x", "written")
    assert found.count == 2
    assert shown(found.changes()) == {b"b": (b'"2"', None), b"x": (b'"4"', None)}


def test_what_is_written_behind_the_search_comes_back_as_well(scene: Scene) -> None:
    found = scene.find()
    run(scene.session, "SET", "a", "other")
    scene.now.state.databases.records.take()
    run(scene.session, "SET", "new", 1)
    assert shown(found.changes()) == {b"a": (b'"1"', None), b"new": None}


def test_what_is_due_by_now_does_not_come_back(scene: Scene) -> None:
    run(scene.then.session(), "SET", "due", 1, "PXAT", START_MS)
    run(scene.then.session(), "HSET", "h", "f", 1, "g", 2)
    run(scene.then.session(), "HPEXPIREAT", "h", START_MS, "FIELDS", 1, "f")
    run(scene.session, "SET", "due", "other")
    scene.past.settle(START_MS - 1)
    matches = matcher(b"*")
    written = Written(scene.now.state.databases, 0, matches, scene.now.state.commands)
    found = Comeback(scene.past, scene.now.keyspace, matches, written, START_MS)
    state = scene.now.state
    asyncio.run(found.find(Slices(state.counters, state.persistence)))
    assert found.count == 6
    assert shown(found.changes()) == {b"due": None, b"h": (b'{"g":"2"}', None)}


def test_nothing_is_gathered_for_who_never_asks(scene: Scene) -> None:
    found = scene.find()
    assert scene.now.state.databases.records.observers
    del found
    assert not scene.now.state.databases.records.observers


@pytest.mark.parametrize("words", [("FLUSHALL",), ("SWAPDB", 0, 1)])
def test_other_data_has_to_be_looked_at_anew(scene: Scene, words: tuple[str | int, ...]) -> None:
    found = scene.find()
    run(scene.session, *words)
    assert found.changes() is None


def test_past_that_went_on_has_to_be_found_anew(scene: Scene) -> None:
    found = scene.find()
    scene.past.settle(START_MS + 1)
    assert found.changes() is None
    found = scene.find()
    scene.past.is_settled = False
    assert found.changes() is None


def test_keys_that_have_expired_since_are_not_too_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comeback, "MOST_KEYS", 2)
    run(scene.session, "HSET", "h", "f", 1)
    run(scene.session, "HPEXPIREAT", "h", START_MS + 5, "FIELDS", 1, "f")
    for number in range(3):
        run(scene.session, "SET", f"n{number}", 1, "PXAT", START_MS + 5)
    scene.now.clock.now_ms += 5
    # Of a hash all of whose fields are due, something is there until it is looked at.
    assert scene.find().changes() == {b"h": None}


def test_too_many_keys_are_refused_and_nobody_gathers_any_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comeback, "MOST_KEYS", 2)
    run(scene.session, "MSET", "n1", 1, "n2", 1)
    assert len(shown(scene.find().changes())) == 2
    found = scene.find()
    run(scene.session, "MSET", "n1", 2, "n3", 1)
    with pytest.raises(CommandError, match="keys are not what they were then"):
        found.changes()
    with pytest.raises(CommandError, match="keys are not what they were then") as raised:
        scene.find()
    assert str(raised.value) == TOO_MANY_KEYS
    assert not scene.now.state.databases.records.observers


def test_present_is_the_past_whatever_is_written_between_the_steps() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(30):
        scene = Scene()
        for number in range(rng.randrange(40)):
            scene.both("SET", f"k{number}", rng.randrange(3))
            scene.both("RPUSH", f"l{number}", *range(rng.randrange(1, 9)))
        found = scene.begin()
        for step in found._find():
            assert step is None
            if rng.random() < 0.2:
                name = rng.randrange(60)
                calls: list[tuple[str | int, ...]] = [("SET", f"k{name}", rng.randrange(3)), ("DEL", f"k{name}", f"l{name}")]
                run(scene.session, *rng.choice([*calls, ("RPUSH", f"l{name}", 1)]))
            if rng.random() < 0.1:
                scene.now.state.databases.records.take()
        changes = found.changes()
        assert changes is not None
        for key, then in changes.items():
            if then is None:
                scene.now.keyspace.remove(key)
            else:
                scene.now.keyspace.put_recreated(key, *then)
        assert content(scene.now.keyspace) == content(scene.then.keyspace)
        assert found.count == len(scene.then.keyspace)


@pytest.mark.parametrize(("name", "words"), [("HSET", ("f{}", "v")), ("SADD", ("m{}",)), ("ZADD", ("{}", "m{}"))])
def test_long_value_may_change_while_it_is_compared(scene: Scene, name: str, words: tuple[str, ...]) -> None:
    for start in range(0, 4000, 1000):
        scene.both(name, "long", *(word.format(number) for number in range(start, start + 1000) for word in words))
    found = scene.begin()
    for number, _ in enumerate(found._find(), 5000):
        for member in (f"{number}", f"{number - 5000}"):
            run(scene.session, name, "long", *(word.format(member) for word in words))
    value = scene.then.keyspace.peek(b"long")
    assert shown(found.changes()) == {b"long": (kind_of(value).json(value)[1], None)}
