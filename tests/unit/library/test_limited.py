"""Room for much is made in turns: others go on meanwhile, and what they write does not keep it from coming to its end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kvserver import Cache, CacheFull, MediumError, ValueTooLarge
from kvserver.data.footprint import entry_bytes
from kvserver.library import limited
from kvserver.library.journal import Journal

ENTRY_BYTES = entry_bytes(b"k0000", b"v" * 100)


def filled(keys: int, *arguments: Any, **options: Any) -> Cache[Any]:
    """A cache with room for just so many entries, which are there."""
    cache: Cache[Any] = Cache(*arguments, size_limit=keys * ENTRY_BYTES, **options)
    for number in range(keys):
        cache.set(f"k{number:04d}", "v" * 100)
    return cache


class Turns:
    """Stands for the rest between two turns, in which another thread has the lock and calls `work`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
        self.count = 0
        self._work = work
        monkeypatch.setattr(limited, "sleep", self._rest)

    def _rest(self, seconds: float) -> None:
        self.count += 1
        assert self.count < 1000
        thread = threading.Thread(target=self._work, args=(self.count,), daemon=True)
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.mark.parametrize("call", ["set", "add", "setdefault", "update"])
def test_others_have_the_lock_while_many_keys_go(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(1000)
    turns = Turns(monkeypatch, lambda turn: cache.get("k0999"))
    value = "v" * (900 * ENTRY_BYTES)
    if call == "update":
        cache.update({"large": value, "small": 1})
    else:
        getattr(cache, call)("large", value)
    assert cache["large"] == value
    assert cache.volume() <= 1000 * ENTRY_BYTES
    assert turns.count >= 900 // limited.EVICTIONS_A_TURN - 1
    # What was used meanwhile has not gone.
    assert "k0999" in cache


def test_those_who_write_meanwhile_take_nothing_of_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(1000)

    def work(turn: int) -> None:
        # More keys than have gone in the turn before.
        for number in range(2 * limited.EVICTIONS_A_TURN):
            cache.set(f"t{turn:02d}{number:03d}", "v" * 100)
            assert cache.volume() <= 1000 * ENTRY_BYTES

    turns = Turns(monkeypatch, work)
    value = "v" * (500 * ENTRY_BYTES)
    cache.set("large", value)
    assert cache.get("large") == value
    assert turns.count <= 500 // limited.EVICTIONS_A_TURN + 2
    # The claim has ended with the call: what fits evicts nobody.
    evictions = cache.stats().evictions
    cache.delete("large")
    for number in range(100):
        cache.set(f"n{number:04d}", "v" * 100)
    assert cache.stats().evictions == evictions


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction", "volatile-lru"])
def test_value_that_will_never_fit_evicts_nobody(policy: str) -> None:
    cache = filled(100, policy=policy)
    with pytest.raises(ValueTooLarge):
        cache.set("large", "v" * (100 * ENTRY_BYTES))
    with pytest.raises(ValueTooLarge):
        cache.update({"small": 1, "large": "v" * (100 * ENTRY_BYTES)})
    assert len(cache) == 100
    assert cache.stats().evictions == 0
    if policy != "allkeys-lru":
        for call in (cache.set, cache.add):
            with pytest.raises(CacheFull, match="large"):
                call("large", "v" * (50 * ENTRY_BYTES))
        with pytest.raises(CacheFull, match="3 keys"):
            cache.update({"a": 1, "b": 2, "c": "v" * (50 * ENTRY_BYTES)})
        assert len(cache) == 100


def test_update_of_more_than_there_is_room_for_keeps_the_last_ones() -> None:
    cache = filled(100)
    cache.update({f"n{number:04d}": "v" * 100 for number in range(350)})
    assert cache.volume() <= 100 * ENTRY_BYTES
    # The groups are of what may take a little more than it does.
    assert len(cache) > 90
    assert "n0349" in cache
    # What is there already needs no room besides.
    evictions = cache.stats().evictions
    cache.update(dict.fromkeys(cache, "w" * 100))
    assert cache.stats().evictions == evictions


@pytest.mark.parametrize("length", [1, 50 * ENTRY_BYTES])
def test_journal_that_has_failed_lets_nothing_change(tmp_path: Path, length: int) -> None:
    cache = filled(100, tmp_path, journal=True)
    journal = cache._journal
    assert isinstance(journal, Journal)
    before = dict(cache.items())
    journal.failure = "the disk is full"
    for call in (
        lambda: cache.update({"a": "v" * length, "b": 2, "k0000": 3}),
        lambda: cache.set("a", "v" * length),
        lambda: cache.add("a", "v" * length),
        lambda: cache.incr("count"),
    ):
        with pytest.raises(MediumError, match="the disk is full"):
            call()
        assert dict(cache.items()) == before
    assert cache.stats().evictions == 0
    cache.shutdown()
    cache.update({"a": "v" * length, "b": 2})
    cache.close()
    with Cache[Any](tmp_path) as found:
        assert found["a"] == "v" * length
        assert found["b"] == 2


def test_update_whose_record_fails_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(100, tmp_path, journal=True)

    def fail(record: bytes) -> int:
        raise MediumError("no space left")

    monkeypatch.setattr(cache._journal._log, "write_now", fail)  # type: ignore[union-attr]
    with pytest.raises(MediumError, match="no space left"):
        cache.update({"a": 1, "b": 2})
    assert "a" not in cache
    assert "b" not in cache
    monkeypatch.undo()
    cache.close()
