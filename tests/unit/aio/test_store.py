"""A store of aio keeps what a store of the library keeps, and its loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import doctest
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import StartServer
from kvserver import KVStore, MediumError, MediumLocked, MemoryMedium, StoreClosed, WrongEventLoop, aio
from kvserver.aio import store as store_module
from kvserver.errors import StoreReadOnly, StoreReplaced

SEED = int(os.environ.get("KVSERVER_AIO_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


def test_examples() -> None:
    assert doctest.testmod(store_module).attempted
    assert not doctest.testmod(store_module).failed


async def items_of(store: aio.KVStore) -> dict[str, Any]:
    return {key: value async for key, value in store.items()}


# --- Calls ---


async def test_calls_are_those_of_the_library(tmp_path: Path) -> None:
    for path in (None, tmp_path):
        async with aio.KVStore(path) as store:
            assert await store.set("a", {"n": [1, None, 2.5]}) is None  # type: ignore[func-returns-value]
            assert await store.get("a") == {"n": [1, None, 2.5]}
            assert (await store.get("z"), await store.get("z", 0)) == (None, 0)
            assert (await store.add("a", 1), await store.add("b", 1)) == (False, True)
            assert (await store.incr("b"), await store.incr("b", 0.5), await store.incr("c", -1)) == (2, 2.5, -1)
            assert (await store.delete("c"), await store.delete("c")) == (True, False)
            assert (await store.pop("b"), await store.pop("b", None)) == (2.5, None)
            with pytest.raises(KeyError):
                await store.pop("b")
            assert (await store.setdefault("d", "x"), await store.setdefault("d", "y")) == ("x", "x")
            await store.update({"e": 1}, f=b"\xff")
            await store.set("g", 1, ttl=100)
            assert 99 < (await store.ttl("g") or 0) <= 100
            assert await store.ttl("a") is None
            assert await store.expire("g", None) is True
            assert await store.ttl("g") is None
            assert await store.expire("z", 1) is False
            expected = {"a": {"n": [1, None, 2.5]}, "d": "x", "e": 1, "f": b"\xff", "g": 1}
            assert await items_of(store) == expected
            keys = store.keys()
            assert {key async for key in store} == {key async for key in keys} == expected.keys()
            assert sorted([str(value) async for value in store.values()]) == sorted(map(str, expected.values()))
            assert (len(store), "a" in store, "z" in store) == (5, True, False)
            assert await store.shutdown() is True
            key, value = await store.popitem()
            assert expected.pop(key) == value
            await store.clear()
            assert len(store) == 0
            assert not store
            with pytest.raises(KeyError):
                await store.popitem()
            assert await store.restore() is True
            assert len(store) == 5


@pytest.mark.parametrize(("key", "value"), [("k", object()), ("k", {1: 2}), (1, "v"), ("k", float("nan"))])
async def test_value_that_is_no_json_changes_nothing(key: Any, value: Any) -> None:
    async with aio.KVStore() as store:
        await store.set("k", "before")
        for call in (store.set(key, value), store.update({"other": 1, key: value})):
            with pytest.raises((TypeError, ValueError)):
                await call
        assert await items_of(store) == {"k": "before"}


async def test_expired_keys_go_by_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("kvserver.aio.keeper.CRON_S", 0.01)
    async with aio.KVStore(tmp_path, journal=True) as store:
        for number in range(300):
            await store.set(f"k{number}", 1, ttl=0.001)
        await store.set("stays", 1)
        keyspace = store._core.databases[0]
        async with asyncio.timeout(20):
            while len(keyspace) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    with KVStore(tmp_path) as found:
        assert dict(found.items()) == {"stays": 1}


async def test_iteration_survives_changes_and_gives_each_key_that_stays_once() -> None:
    rng = random.Random(SEED)
    async with aio.KVStore() as store:
        staying = {f"s{number}" for number in range(500)}
        await store.update(dict.fromkeys(staying, 1))
        seen: list[str] = []
        async for key in store:
            seen.append(key)
            await store.set(f"n{rng.randrange(1000)}", 1)
            await store.delete(f"n{rng.randrange(1000)}")
        assert sorted(key for key in seen if key in staying) == sorted(staying), f"KVSERVER_AIO_SEED={SEED}"


# --- Where and when it is used ---


async def test_store_that_is_not_open_says_so() -> None:
    store = aio.KVStore()
    for turn in range(2):
        for call in (store.get("k"), store.set("k", 1), store.shutdown(), store.restore(), store.update(k=1)):
            with pytest.raises(StoreClosed, match="not open"):
                await call
        with pytest.raises(StoreClosed):
            len(store)
        with pytest.raises(StoreClosed):
            assert "k" in store
        with pytest.raises(StoreClosed):
            [key async for key in store]
        if not turn:
            async with store:
                await store.set("k", 1)
                with pytest.raises(RuntimeError, match="open already"):
                    await store.open()
            await store.close()
    async with store:
        assert len(store) == 0


async def test_store_is_opened_once_and_closed_once_whoever_asks(tmp_path: Path) -> None:
    for path in (None, tmp_path):
        store = aio.KVStore(path)
        assert not store
        results = await asyncio.gather(store.open(), store.open(), return_exceptions=True)
        assert results[0] is store
        assert isinstance(results[1], RuntimeError)
        assert not store
        await store.set("a", 1)
        assert store
        closing = [asyncio.create_task(store.close()) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="being closed"):
            await store.open()
        # Where it is, the first has ended too, and the folder is free.
        await closing[2]
        assert closing[0].done()
        assert not store
        async with store:
            assert await store.get("a") == (None if path is None else 1)
        await asyncio.gather(*closing)


async def test_call_that_waited_until_the_store_was_closed_is_told() -> None:
    async with aio.KVStore() as store:
        keeper = store._keeper
        assert keeper
        # As while the disk can't keep up.
        keeper._pause()
        writing = asyncio.create_task(store.set("k", 1))
        await asyncio.sleep(0.01)
        assert not writing.done()
    keeper._resume()
    with pytest.raises(StoreClosed, match="meanwhile"):
        await writing


async def test_write_waits_while_the_disk_can_not_keep_up(tmp_path: Path) -> None:
    async with aio.KVStore(tmp_path, journal=True) as store:
        keeper = store._keeper
        assert keeper
        keeper._pause()
        writing = asyncio.create_task(store.set("k", 1))
        await asyncio.sleep(0.01)
        assert await store.get("k") is None
        keeper._resume()
        await writing
        assert await store.get("k") == 1


async def test_another_loop_or_thread_is_told() -> None:
    async with aio.KVStore() as store:
        failures: list[BaseException] = []

        def elsewhere() -> None:
            for call in (lambda: asyncio.run(store.get("k")), lambda: len(store), lambda: "k" in store):
                try:
                    call()
                except BaseException as error:
                    failures.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        # While this loop runs on.
        while thread.is_alive():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert [type(failure) for failure in failures] == [WrongEventLoop] * 3
        await store.set("k", 1)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((), {"journal": True}, ValueError),
        (("folder",), {"fsync": "no"}, ValueError),
        ((MemoryMedium(),), {}, TypeError),
        ((), {"read_only": True}, ValueError),
        (("folder",), {"read_only": True, "journal": True}, ValueError),
        ((1,), {}, TypeError),
    ],
)
def test_options_that_make_no_sense_are_told_at_once(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        aio.KVStore(*arguments, **options)


async def test_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("text")
    with pytest.raises(MediumError, match="is a file"):
        await aio.KVStore(tmp_path / "file").open()


async def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with KVStore(tmp_path), pytest.raises(MediumLocked):
        await aio.KVStore(tmp_path).open()
    async with aio.KVStore(tmp_path):
        pass


# --- What is kept ---


@pytest.mark.parametrize("options", [{}, {"journal": True}, {"journal": True, "fsync": "always"}])
async def test_library_and_server_find_all_that_was_written(
    start_server: StartServer, tmp_path: Path, options: dict[str, Any]
) -> None:
    async with aio.KVStore(tmp_path, **options) as store:
        await store.set("text", "é")
        await store.set("bytes", b"\xff")
        await store.set("document", {"n": 1}, ttl=1000)
        await store.incr("counter", 41)
        await store.update({f"k{number}": number for number in range(100)})
        await store.delete("k5")
    with KVStore(tmp_path) as found:
        assert (len(found), found["bytes"], found["k6"]) == (103, b"\xff", 6)
    server = start_server(directory=tmp_path)
    with server.connect() as wire:
        assert wire.value("GET", "text") == "é".encode()
        assert wire.value("GET", "bytes") == b"\xff"
        assert wire.value("GET", "document") == b'{"n":1}'
        assert 0 < wire.value("TTL", "document") <= 1000
        assert wire.value("INCR", "counter") == 42
        assert wire.value("DBSIZE") == 103
        wire.command("HSET", "h", "f", "v")
    server.kill()
    async with aio.KVStore(tmp_path, **options) as store:
        assert await store.get("h") == {"f": "v"}
        assert await store.get("counter") == 42


WRITER = """
import asyncio, sys
from kvserver import aio

async def main():
    async with aio.KVStore(sys.argv[1], journal=True, fsync=sys.argv[2]) as store:
        async def write(task):
            for number in range(10**9):
                await store.set(f"{task}:{number}", number)
                print(f"{task}:{number}", flush=True)
        await asyncio.gather(*(write(task) for task in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_kill_loses_nothing_that_was_acknowledged(start_server: StartServer, tmp_path: Path, fsync: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), fsync], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    acknowledged = [child.stdout.readline() for _ in range(500)]
    child.send_signal(signal.SIGKILL)
    acknowledged += child.communicate()[0].splitlines(keepends=True)
    # The last line may be torn.
    keys = [line.strip() for line in acknowledged if line.endswith("\n")]
    with start_server(directory=tmp_path).connect() as wire:
        missing = [key for key in keys if wire.value("EXISTS", key) != 1]
    assert not missing
    assert len(keys) >= 500


async def test_many_tasks_count_together(tmp_path: Path) -> None:
    async with aio.KVStore(tmp_path, journal=True, fsync="always") as store:

        async def count() -> None:
            for _ in range(5):
                await store.incr("n")

        await asyncio.gather(*(count() for _ in range(100)))
        assert await store.get("n") == 500
        assert store._keeper
        assert store._keeper.state.journal.syncs < 250
    with KVStore(tmp_path) as found:
        assert found["n"] == 500


async def test_cancelled_write_is_done_or_has_not_begun(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    async with aio.KVStore(tmp_path, journal=True, fsync="always") as store:
        tasks = [asyncio.create_task(store.update({f"{number}:a": 1, f"{number}:b": 1})) for number in range(200)]
        for task in tasks:
            if rng.random() < 0.5:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        in_memory = await items_of(store)
    for number in range(200):
        assert (f"{number}:a" in in_memory) == (f"{number}:b" in in_memory), f"KVSERVER_AIO_SEED={SEED}"
    with KVStore(tmp_path) as found:
        assert dict(found.items()) == in_memory, f"KVSERVER_AIO_SEED={SEED}"


async def test_reader_beside_a_running_server(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(directory=tmp_path)
    with server.connect() as wire:
        wire.command("SET", "a", "1")
        async with aio.KVStore(tmp_path, read_only=True) as store:
            assert await store.get("a") == "1"
            for call in (store.set("b", 1), store.delete("a"), store.clear(), store.shutdown()):
                with pytest.raises(StoreReadOnly):
                    await call
            wire.command("SET", "b", "2")
            wire.command("SAVE")
            wire.command("SET", "c", "3")
            assert await store.restore() is True
            assert await items_of(store) == {"a": "1", "b": "2", "c": "3"}
        assert wire.value("DBSIZE") == 3
    with pytest.raises(MediumError):
        await aio.KVStore(tmp_path / "nothing", read_only=True).open()
    assert not tmp_path.joinpath("nothing").exists()


# --- Data that is replaced ---


async def test_nobody_sees_half_of_what_is_restored(tmp_path: Path) -> None:
    with KVStore(tmp_path, journal=True) as writer:
        writer.update({f"k{number}": number for number in range(500)})
        writer.shutdown()
        for number in range(3000):
            writer.set("in the journal", number)
        async with aio.KVStore(tmp_path, read_only=True) as reader:
            keys, items = reader.keys(), reader.items()
            await anext(keys)
            await anext(items)
            restoring = asyncio.create_task(reader.restore())
            counting, looking = asyncio.create_task(reader.count()), asyncio.create_task(reader.has("in the journal"))
            seen, refusals = set(), 0
            while not restoring.done():
                try:
                    seen.add((len(reader), "in the journal" in reader))
                except StoreReplaced:
                    refusals += 1
                await asyncio.sleep(0)
            assert seen <= {(501, True)}
            assert refusals > 0
            assert await restoring is True
            assert await counting == 501
            assert await looking is True
            for iteration in (keys, items):
                with pytest.raises(StoreReplaced, match="begin anew"):
                    await anext(iteration)
            assert len(reader) == len(await items_of(reader)) == 501


async def test_length_looks_at_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with aio.KVStore() as store:
        await store.update({f"k{number}": number for number in range(100)})
        await store.set("soon", 1, ttl=0.001)

        def fail(*arguments: Any) -> Any:
            raise AssertionError

        monkeypatch.setattr("kvserver.data.keyspace.Keyspace.shard_members", fail)
        while await store.has("soon"):
            pass
        assert len(store) == await store.count() in (100, 101)


# --- The loop goes on ---


async def test_task_that_does_nothing_but_call_lets_others_run() -> None:
    async with aio.KVStore() as store:
        has_run = asyncio.Event()
        asyncio.get_running_loop().call_soon(has_run.set)
        calls = 0
        while not has_run.is_set():
            await store.set("k", await store.get("k", 0) + 1)
            calls += 1
        assert 1 < calls <= 128


async def test_loop_goes_on_while_a_large_store_is_kept_and_loaded(tmp_path: Path) -> None:
    """By the number of its turns: the time of each depends on the machine."""

    async def turns_beside(work: Any) -> int:
        task, turns = asyncio.ensure_future(work), 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        await task
        return turns

    keys = 30_000
    store = aio.KVStore(tmp_path)
    async with store:
        await store.update({f"key:{number}": {"n": number} for number in range(keys)})
        assert await turns_beside(store.shutdown()) > 20
        assert await turns_beside(store.restore()) > 20
    store = aio.KVStore(tmp_path)
    assert await turns_beside(store.open()) > 20
    assert len(store) == keys
    assert await turns_beside(items_of(store)) > 20
    await store.clear()
    assert len(store) == 0
    await store.close()


async def test_snapshot_is_of_one_instant_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    async with aio.KVStore(tmp_path) as store:
        await store.update({f"key:{number}": 0 for number in range(20_000)})
        flush = asyncio.ensure_future(store.shutdown())
        version = 0
        while not flush.done():
            version += 1
            await store.update({f"key:{number}": version for number in range(0, 20_000, 100)})
            await asyncio.sleep(0)
        assert version > 1
        await store.restore()
        # The flush began before or behind the first update.
        assert len({value async for key, value in store.items() if int(key[4:]) % 100 == 0}) == 1


async def test_long_journal_is_followed_by_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.aio.keeper.CRON_S", 0.01)
    monkeypatch.setattr("kvserver.aio.keeper.SCHEDULE_S", 0.01)
    store = aio.KVStore(tmp_path, journal=True)
    store._config.auto_aof_rewrite_min_size = 100_000
    async with store:
        async with asyncio.timeout(20):
            while not tmp_path.joinpath("dump.kvs").stat().st_size:
                await store.set("k", "v" * 10_000)
                await asyncio.sleep(0.001)
    with KVStore(tmp_path) as found:
        assert found["k"] == "v" * 10_000


def test_program_that_needs_no_asyncio_imports_none() -> None:
    asked = (
        "import sys, kvserver; kvserver.Cache; print('asyncio' in sys.modules); kvserver.aio; print('asyncio' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["False", "True"]
