"""The cache keeps to its limit, lets go of what its policy says, and loses nothing by a value that it refuses."""

from __future__ import annotations

import doctest
import math
import os
import pickle
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvserver
from helpers.servers import StartServer
from kvserver import Cache, CacheFull, CodecError, KVStore, ValueTooLarge
from kvserver.data.footprint import entry_bytes
from kvserver.library import cache as cache_module
from kvserver.library import codec as codec_module

SEED = int(os.environ.get("KVSERVER_CACHE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
POLICIES = [
    *("allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
]
# A value of 100 bytes under a short key.
ENTRY_BYTES = entry_bytes(b"k00", b"v" * 100)


def filled(keys: int, **options: Any) -> Cache[str]:
    """A cache with room for just so many entries, which are there."""
    cache: Cache[str] = Cache(size_limit=keys * ENTRY_BYTES, **options)
    for number in range(keys):
        cache.set(f"k{number:02d}", "v" * 100)
    return cache


class Hexadecimal:
    """A codec whose bytes are UTF-8 or not, as the value says."""

    def encode(self, value: Any) -> bytes:
        if value == "fails":
            raise RuntimeError("no such value")
        return bytes.fromhex(value)

    def decode(self, data: bytes) -> Any:
        return data.hex()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many seconds pass."""
    now_ms = [1_700_000_000_000]
    monkeypatch.setattr("kvserver.library.keeping.now_ms", lambda: now_ms[0])
    monkeypatch.setattr("kvserver.library.limited.now_ms", lambda: now_ms[0])

    def pass_seconds(seconds: int) -> None:
        now_ms[0] += 1000 * seconds

    return pass_seconds


@pytest.mark.parametrize("module", [cache_module, codec_module])
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).attempted
    assert not doctest.testmod(module).failed


# --- Calls ---


def test_calls_of_a_cache() -> None:
    with Cache[Any]() as cache:
        cache.set("a", {"n": [1, None, True, 2.5]})
        assert cache.get("a") == cache["a"] == cache.peek("a") == {"n": [1, None, True, 2.5]}
        assert cache.add("a", 1) is False
        assert cache.add("b", 1) is True
        assert (cache.incr("b"), cache.incr("b", 2.5), cache.decr("b"), cache.incr("c")) == (2, 4.5, 3.5, 1)
        assert ("a" in cache, "z" in cache, len(cache), sorted(cache)) == (True, False, 3, ["a", "b", "c"])
        assert cache.get("z") is cache.peek("z") is None
        assert cache.get("z", 0) == cache.peek("z", 0) == cache.pop("z", 0) == 0
        assert cache.pop("b") == 3.5
        assert cache.setdefault("d", "x") == cache.setdefault("d", "y") == "x"
        cache.update({"e": 1}, f=2)
        assert dict(cache.items()) == {"a": {"n": [1, None, True, 2.5]}, "c": 1, "d": "x", "e": 1, "f": 2}
        assert cache.delete("a") is True
        assert cache.delete("a") is False
        for missing in ("z", "a"):
            with pytest.raises(KeyError):
                cache[missing]
            with pytest.raises(KeyError):
                cache.pop(missing)
        cache.clear()
        assert (len(cache), cache.volume()) == (0, 0)


def test_ttl_of_the_cache_is_that_of_values_without_one(clock: Callable[[int], None]) -> None:
    cache: Cache[int] = Cache(ttl=10)
    cache.set("default", 1)
    cache["item"] = 1
    cache.update(update=1)
    cache.setdefault("setdefault", 1)
    cache.add("add", 1)
    cache.incr("incr")
    cache.set("long", 1, ttl=20)
    cache.set("ever", 1, ttl=math.inf)
    assert {cache.ttl(key) for key in ("default", "item", "update", "setdefault", "add", "incr")} == {10}
    assert (cache.ttl("long"), cache.ttl("ever")) == (20, None)
    cache.touch("update")
    clock(9)
    assert cache.incr("incr") == 2
    assert cache.ttl("incr") == 1
    assert cache.touch("item")
    assert cache.touch("add", 100)
    assert cache.expire("setdefault", None)
    clock(2)
    assert sorted(cache) == ["add", "ever", "item", "long", "setdefault"]
    assert not cache.touch("default")


def test_hits_and_misses_are_those_of_get() -> None:
    cache: Cache[int] = Cache()
    cache.set("a", 1)
    for key in ("a", "a", "z"):
        cache.get(key)
        cache.peek(key)
        assert key in ("a", "z")
    assert cache.stats() == cache.stats(reset=True) == (2, 1, 0)
    assert cache.stats() == (0, 0, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"size_limit": 0},
        {"size_limit": -1},
        {"size_limit": 1.5},
        {"size_limit": True},
        {"policy": "least-recently-used"},
        {"policy": None},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": math.nan},
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_opened(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"size_limit|policy|ttl"):
        Cache(tmp_path / "folder", **options)
    assert not tmp_path.joinpath("folder").exists()


def test_medium_of_plain_json_is_no_place_for_a_cache() -> None:
    with pytest.raises(TypeError, match="folder"):
        Cache(kvserver.MemoryMedium())  # type: ignore[call-overload]


# --- The limit ---


@pytest.mark.parametrize("policy", POLICIES)
def test_limit_holds_after_every_call_of_any_kind(policy: str) -> None:
    rng = random.Random(SEED)
    limit = 20 * ENTRY_BYTES
    cache: Cache[Any] = Cache(size_limit=limit, policy=policy)
    refused = 0
    for _ in range(400):
        key, value = f"k{rng.randrange(60)}", "v" * rng.choice([0, 1, 50, 100, 1000, limit - 200, limit, 2 * limit])
        ttl = rng.choice([None, 100, 1000])
        before = cache.get(key)
        calls: list[Callable[[], Any]] = [
            lambda: cache.set(key, value, ttl),  # noqa: B023
            lambda: cache.add(key, value, ttl),  # noqa: B023
            lambda: cache.update({key: value}),  # noqa: B023
            lambda: cache.setdefault(key, value),  # noqa: B023
            lambda: cache.incr(f"{key}:n"),  # noqa: B023
            lambda: cache.expire(key, ttl),  # noqa: B023
            lambda: cache.delete(key),  # noqa: B023
        ]
        error: Exception | None = None
        try:
            rng.choice(calls)()
        except (ValueTooLarge, CacheFull) as refusal:
            error = refusal
        if error:
            refused += 1
            assert key in str(error)
            assert isinstance(error, ValueTooLarge) or not policy.startswith("allkeys-"), SEED
            if policy == "noeviction":
                assert cache.peek(key) == before, SEED
        found = sum(entry_bytes(key, entry) for key, entry in cache.databases[0].members())
        assert cache.volume() == found <= limit, f"KVSERVER_CACHE_SEED={SEED}"
    assert refused


def test_value_that_is_too_large_evicts_nobody() -> None:
    cache = filled(10)
    with pytest.raises(ValueTooLarge, match=r"'big' takes \d+ bytes with its key, and all may take 2"):
        cache.set("big", "x" * 10 * ENTRY_BYTES)
    with pytest.raises(ValueTooLarge):
        cache.update(k00="new", big="x" * 10 * ENTRY_BYTES)
    assert (len(cache), cache["k00"], cache.stats().evictions) == (10, "v" * 100, 0)


def test_value_that_takes_the_place_of_another_needs_room_for_the_difference_alone() -> None:
    cache = filled(10)
    cache.set("k05", "w" * 100)
    assert len(cache) == 10
    cache.set("k05", "w" * 120)
    assert len(cache) == 9
    assert cache["k05"] == "w" * 120


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_full_cache_whose_policy_lets_nobody_go_refuses(policy: str) -> None:
    cache = filled(10, policy=policy)
    with pytest.raises(CacheFull, match=f"by {policy}.*'more'"):
        cache.set("more", "v")
    assert cache.add("k00", "no") is False
    cache.set("k00", "v")
    assert (len(cache), cache["k00"]) == (10, "v")


# --- Who goes ---


def test_least_recently_used_key_goes() -> None:
    cache = filled(10)
    for number in range(10):
        if number != 4:
            cache.get(f"k{number:02d}")
    cache.peek("k04")
    cache.set("new", "v" * 100)
    assert "k04" not in cache
    assert len(cache) == 10
    assert cache.stats().evictions == 1


def test_least_often_used_key_goes() -> None:
    cache = filled(10, policy="allkeys-lfu")
    for _ in range(300):
        for number in range(10):
            if number != 4:
                cache.get(f"k{number:02d}")
    cache.set("new", "v" * 100)
    assert "k04" not in cache


def test_key_that_expires_first_goes_and_none_without_a_ttl() -> None:
    cache: Cache[str] = Cache(size_limit=12 * ENTRY_BYTES, policy="volatile-ttl")
    for number in range(10):
        cache.set(f"k{number:02d}", "v" * 100, ttl=None if number < 8 else 1000 - number)
    gone: list[str] = []
    for number in range(4):
        before = set(cache)
        cache.set(f"n{number:02d}", "v" * 100)
        gone += before - set(cache)
    assert gone == ["k09", "k08"]
    with pytest.raises(CacheFull):
        cache.set("n04", "v" * 100)


# --- Codecs ---


@pytest.mark.parametrize("value", ["00ff", "", "616263", "7b7d"])
def test_codec_makes_the_bytes_that_are_kept(value: str, tmp_path: Path) -> None:
    """Bytes that are UTF-8 are a string in the frame, and others are what a tag says."""
    for _ in range(2):
        with Cache(tmp_path, codec=Hexadecimal()) as cache:
            cache.setdefault("k", value)
            assert cache["k"] == cache.get("k") == cache.peek("k") == value
            assert list(cache.items()) == [("k", value)]
            assert list(cache.values()) == [value]
            assert cache.popitem() == ("k", value)
            assert cache.add("k", value) is True
            assert cache.pop("k") == value
            cache.update(k=value)
    with KVStore(tmp_path) as store:
        assert store["k"] in (bytes.fromhex(value), bytes.fromhex(value).decode(errors="replace"))


def test_codec_that_fails_changes_nothing_and_names_the_key() -> None:
    cache: Cache[str] = Cache(codec=Hexadecimal())
    cache.set("k", "aa")
    for call in (
        lambda: cache.set("k", "fails"),
        lambda: cache.add("k", "fails"),
        lambda: cache.update({"other": "00", "k": "fails"}),
        lambda: cache.setdefault("k", "fails"),
    ):
        with pytest.raises(CodecError, match="value of 'k': RuntimeError: no such value"):
            call()
    assert list(cache.items()) == [("k", "aa")]


def test_value_that_no_codec_has_made_is_told(tmp_path: Path) -> None:
    with KVStore(tmp_path) as store:
        store["document"] = {"n": 1}
    with Cache(tmp_path, codec=Hexadecimal()) as cache:
        assert cache["document"] == b'{"n":1}'.hex()

    class Strict(Hexadecimal):
        def decode(self, data: bytes) -> Any:
            raise ValueError("no header")

    for journal in (False, True):
        with Cache(tmp_path, codec=Strict(), journal=journal) as cache:
            for call in (lambda: cache.get("document"), lambda: cache.pop("document"), cache.popitem):
                with pytest.raises(CodecError, match="'document': ValueError: no header"):
                    call()
    with KVStore(tmp_path) as store:
        assert dict(store) == {"document": {"n": 1}}, "what can't be decoded is not removed"


def test_numbers_go_through_the_codec() -> None:
    class Decimal:
        def encode(self, value: int) -> bytes:
            return b"#%d" % value

        def decode(self, data: bytes) -> int:
            return int(data[1:])

    cache: Cache[int] = Cache(codec=Decimal())
    assert (cache.incr("n"), cache.incr("n", 5), cache.decr("n")) == (1, 6, 5)
    assert cache.databases[0].get(b"n") == b"#5"
    with pytest.raises(TypeError, match="by"):
        cache.incr("n", "1")  # type: ignore[arg-type]


def test_pickle_is_no_way_in(tmp_path: Path) -> None:
    with Cache[Any](tmp_path) as cache:
        with pytest.raises(TypeError):
            cache.set("k", object())
        cache.set("k", pickle.dumps(print).decode("latin-1"))
        assert cache["k"] == pickle.dumps(print).decode("latin-1")


# --- Folders, servers, threads ---


def test_folder_that_holds_more_than_the_limit_loses_what_there_is_no_room_for(tmp_path: Path) -> None:
    with Cache[str](tmp_path) as cache:
        for number in range(5000):
            cache.set(f"k{number}", "v" * 100)
        volume = cache.volume()
    with Cache[str](tmp_path) as cache:
        assert (len(cache), cache.volume()) == (5000, volume)
    with Cache[str](tmp_path, size_limit=volume // 2) as cache:
        assert 2000 < len(cache) < 2600
        assert cache.volume() <= volume // 2
        cache.set("new", "v" * 100)
        cache.restore()
        assert cache.volume() <= volume // 2
    with Cache[str](tmp_path) as cache:
        assert 2000 < len(cache) < 2600


def test_server_finds_what_a_cache_has_left(start_server: StartServer, tmp_path: Path) -> None:
    with Cache[Any](tmp_path) as cache:
        cache.set("text", "é")
        cache.set("document", {"n": 1}, ttl=1000)
        cache.incr("counter", 41)
    with start_server(directory=tmp_path).connect() as wire:
        assert wire.value("GET", "text") == "é".encode()
        assert wire.value("GET", "document") == b'{"n":1}'
        assert 0 < wire.value("TTL", "document") <= 1000
        assert wire.value("INCR", "counter") == 42


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_journal_has_what_was_set_and_what_has_gone(tmp_path: Path, fsync: Any) -> None:
    rng = random.Random(SEED)
    killed = tmp_path / "killed"
    with Cache[Any](tmp_path / "cache", size_limit=30 * ENTRY_BYTES, journal=True, fsync=fsync) as cache:
        cache.update({f"k{number:02d}": "v" * 100 for number in range(40)})
        for _ in range(100):
            cache.set(f"k{rng.randrange(60):02d}", "w" * rng.randrange(200), ttl=rng.choice([None, 1000]))
            cache.incr("n")
        with pytest.raises(ValueTooLarge):
            cache.set("k00", "x" * 30 * ENTRY_BYTES)
        expected = dict(cache.items())
        # What a kill would leave.
        shutil.copytree(tmp_path / "cache", killed)
    assert cache.stats().evictions > 10
    with KVStore(killed) as store:
        assert dict(store.items()) == expected, f"KVSERVER_CACHE_SEED={SEED}"


def test_update_without_room_for_all_stores_none(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    with Cache[Any](tmp_path / "cache", size_limit=10 * ENTRY_BYTES, policy="noeviction", journal=True) as cache:
        with pytest.raises(CacheFull):
            cache.update({f"k{number:02d}": "v" * 100 for number in range(12)})
        assert len(cache) == 0
        cache.update({f"k{number:02d}": "v" * 100 for number in range(10)})
        assert len(cache) == 10
        shutil.copytree(tmp_path / "cache", killed)
    with KVStore(killed) as store:
        assert len(store) == 10


def test_threads_share_a_cache_that_is_always_full() -> None:
    cache: Cache[Any] = Cache(size_limit=50 * ENTRY_BYTES)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for number in range(600):
                key = f"k{rng.randrange(200)}"
                cache.set(key, {"of": key, "n": "x" * 80})
                found = cache.get(f"k{rng.randrange(200)}", {"of": None})
                assert found["of"] is None or found["n"] == "x" * 80
                cache.incr("count")
                cache.get("count")
                if not number % 300:
                    assert all(key == "count" or value["of"] == key for key, value in cache.items())
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(SEED + number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, f"KVSERVER_CACHE_SEED={SEED}"
    assert cache.volume() <= 50 * ENTRY_BYTES
    hits, misses, evictions = cache.stats()
    assert hits + misses == 4 * 600 * 2
    assert evictions > 400


# --- A codec and the lock ---


def test_codec_is_never_called_under_the_lock() -> None:
    class Watching:
        """A codec of numbers, which another thread can use the cache beside."""

        def encode(self, value: float) -> bytes:
            self._watch()
            return repr(value).encode()

        def decode(self, data: bytes) -> float:
            self._watch()
            return int(data) if data.isdigit() else float(data)

        def _watch(self) -> None:
            def take() -> None:
                free.append(cache.lock.acquire(blocking=False))
                if free[-1]:
                    cache.lock.release()

            thread = threading.Thread(target=take)
            thread.start()
            thread.join()

    free: list[bool] = []
    cache = Cache(codec=Watching(), ttl=60)
    cache.set("a", 1)
    assert cache.get("a") == cache.peek("a") == cache["a"] == cache.setdefault("a", 2) == 1
    assert cache.setdefault("b", 3) == 3
    assert cache.add("b", 4) is False
    assert cache.incr("a", 2) == 3
    assert cache.incr("c", 0.5) == 0.5
    cache.update({"d": 4})
    assert cache.pop("d") == 4
    assert cache.pop("d", None) is None
    assert dict(cache.items()) == {"a": 3, "b": 3, "c": 0.5}
    assert cache.popitem() in [("a", 3), ("b", 3), ("c", 0.5)]
    assert len(cache) == 2
    assert len(free) > 10
    assert all(free)


def test_sum_of_a_value_that_changes_while_the_codec_works_is_exact() -> None:
    class Interrupted:
        interrupts = 3

        def encode(self, value: int) -> bytes:
            return repr(value).encode()

        def decode(self, data: bytes) -> int:
            if self.interrupts:
                self.interrupts -= 1
                cache.set("n", 10 * int(data))
            return int(data)

    cache = Cache(codec=Interrupted())
    cache.set("n", 1)
    assert cache.incr("n") == 1001
    assert cache.get("n") == 1001


def test_sum_that_no_float_has_is_a_value_error() -> None:
    class Digits:
        def encode(self, value: float) -> bytes:
            return repr(value).encode()

        def decode(self, data: bytes) -> float:
            return int(data)

    cache = Cache(codec=Digits())
    cache.set("n", 10**400)
    with pytest.raises(ValueError, match="too large for a float"):
        cache.incr("n", 0.5)
    assert cache.get("n") == 10**400
