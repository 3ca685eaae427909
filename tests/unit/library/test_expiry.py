"""Keys of a library store expire, and a place that has no word for that says so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import StartServer
from kvserver import FileMedium, KVStore, MemoryMedium, ServerFolder
from kvserver.data.expiry import MOST_DUE

START_MS = 1_700_000_000_000


class Clock:
    now = START_MS

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("keeping", "folder"):
        monkeypatch.setattr(f"kvserver.library.{module}.now_ms", clock)
    return clock


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[KVStore]:
    with KVStore(None if request.param == "memory" else tmp_path) as store:
        yield store


def test_key_is_there_for_its_time(store: KVStore, clock: Clock) -> None:
    store.set("short", 1, ttl=0.5)
    store.set("long", [1], ttl=60)
    store.set("ever", 2)
    assert [store.ttl(key) for key in ("short", "long", "ever", "missing")] == [0.5, 60.0, None, None]
    clock.advance(0.499)
    assert store.ttl("short") == 0.001
    assert (store["short"], len(store)) == (1, 3)
    clock.advance(0.001)
    assert store.get("short", "gone") == "gone"
    assert "short" not in store
    assert store.ttl("short") is None
    clock.advance(60)
    assert (dict(store), len(store), list(store.items())) == ({"ever": 2}, 1, [("ever", 2)])


def test_nobody_need_have_asked_for_what_is_gone(store: KVStore, clock: Clock) -> None:
    for number in range(3 * MOST_DUE):
        store.set(f"key {number}", number, ttl=1 + number % 2)
    clock.advance(1)
    for _ in range(2):
        assert len(store) == len(list(store)) == len(list(store.values())) == 1.5 * MOST_DUE
    assert store.popitem()[1] % 2 == 1
    clock.advance(1)
    assert len(store) == 0
    with pytest.raises(KeyError):
        store.popitem()


def test_gone_key_is_missing_to_each_call(store: KVStore, clock: Clock) -> None:
    def gone() -> KVStore:
        store.set("k", 5, ttl=1)
        clock.advance(1)
        return store

    assert gone().add("k", 1) is True
    assert gone().incr("k") == 1
    assert gone().delete("k") is False
    assert gone().expire("k", 5) is False
    assert gone().pop("k", None) is None
    assert gone().setdefault("k", 2) == 2
    assert store.ttl("k") is None


def test_expiry_goes_with_a_new_value_stays_with_a_sum_and_can_be_changed(store: KVStore, clock: Clock) -> None:
    store.set("k", 1, ttl=10)
    assert store.incr("k") == 2
    assert store.ttl("k") == 10
    store.set("k", 1)
    assert store.ttl("k") is None
    assert store.expire("k", 5) is True
    assert store.ttl("k") == 5
    assert store.expire("k", None) is True
    assert store.ttl("k") is None
    assert store.add("k", 9, ttl=1) is False
    assert (store["k"], store.ttl("k")) == (1, None)
    store.set("k", 1, ttl=10)
    store.update(k=2)
    assert store.ttl("k") is None
    assert store.add("new", 9, ttl=1) is True
    assert store.ttl("new") == 1


def test_expiry_is_kept_by_a_frame(store: KVStore, clock: Clock) -> None:
    store.set("k", 1, ttl=10)
    store.set("gone", 1, ttl=1)
    store.shutdown()
    clock.advance(4)
    assert store.restore() is True
    assert store.ttl("k") == 6
    assert len(store) == 1


def test_memory_of_what_nobody_asks_for_is_given_back_while_others_come(store: KVStore, clock: Clock) -> None:
    for number in range(20_000):
        store.set(f"key {number}", number, ttl=1)
        clock.advance(0.001)
    # A shard rests between two sweeps, so that some are still there.
    assert len(store.databases[0]) < 6_000
    assert len(store) == 999


@pytest.mark.parametrize(
    ("ttl", "error"),
    [(0, ValueError), (-1, ValueError), (math.nan, ValueError), (math.inf, ValueError), (1e300, ValueError),
     ("1", TypeError), (True, TypeError)],
)  # fmt: skip
def test_ttl_that_is_none_is_refused_and_changes_nothing(store: KVStore, ttl: Any, error: type[Exception]) -> None:
    store["k"] = 1
    for call in (lambda: store.set("k", 2, ttl), lambda: store.add("new", 2, ttl), lambda: store.expire("k", ttl)):
        with pytest.raises(error, match="ttl"):
            call()
    assert dict(store) == {"k": 1}
    assert store.ttl("k") is None


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_medium_of_plain_json_refuses_a_ttl_by_one_line(tmp_path: Path, kind: str) -> None:
    with KVStore(FileMedium(tmp_path / "users.kvs") if kind == "file" else MemoryMedium()) as store:
        store["k"] = 1
        for call in (lambda: store.set("k", 2, ttl=1), lambda: store.add("new", 2, 1), lambda: store.expire("k", 1)):
            with pytest.raises(ValueError, match=r'plain JSON.*KVStore\("folder"\)') as caught:
                call()
            assert "\n" not in str(caught.value)
        assert store.expire("k", None) is True
        assert (dict(store), store.ttl("k")) == ({"k": 1}, None)


def test_fields_that_have_expired_are_gone_and_with_the_last_one_the_key(
    start_server: StartServer, clock: Clock, tmp_path: Path
) -> None:
    server = start_server("--save", "", "--appendfsync", "always", directory=tmp_path)
    with server.connect() as wire:
        wire.command("HSET", "h", "a", 1, "b", 2)
        wire.command("HSET", "gone", "a", 1)
        for key, field in (("h", "a"), ("gone", "a")):
            wire.command("HPEXPIREAT", key, 4_000_000_000_000, "FIELDS", 1, field)
        wire.command("SAVE")
    server.kill()
    with KVStore(ServerFolder(tmp_path)) as store:
        assert dict(store) == {"h": {"a": "1", "b": "2"}, "gone": {"a": "1"}}
        clock.now = 4_000_000_000_000
        assert dict(store.items()) == {"h": {"b": "2"}}
        assert (len(store), list(store), "gone" in store) == (1, ["h"], False)


def test_flush_meanwhile_hides_nothing(store: KVStore, clock: Clock) -> None:
    """What is due while a frame is written is not there, though nothing can be removed then."""
    for number in range(100):
        store.set(f"key {number}", number, ttl=1 + number % 2)
    append, found = store._kept.append, list[int]()

    def append_slowly(payload: Any, key_count: int) -> None:
        clock.advance(1)
        found.extend((len(store), len(list(store)), len(dict(store.items()))))
        assert store.popitem()[1] % 2 == 1
        append(payload, key_count)

    store._kept.append = append_slowly  # type: ignore[method-assign]
    store.shutdown()
    store._kept.append = append  # type: ignore[method-assign]
    assert found == [50, 50, 50]
    assert len(store) == 49
