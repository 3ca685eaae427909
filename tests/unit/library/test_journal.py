"""What a call of a store with a journal has written is kept, before it returns, by the files that a server reads."""

from __future__ import annotations

import errno
import gc
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.disks import Disk
from helpers.servers import StartServer, wait_until
from kvserver import FileMedium, KVStore, MediumError, MediumLocked, MediumPoisoned, MemoryMedium, ServerFolder
from kvserver.errors import StoreClosed
from kvserver.library import journal as journal_module
from kvserver.library.journal import Fsync, Journal

ALWAYS = ("--save", "", "--appendfsync", "always")


@pytest.fixture(params=["always", "everysec"])
def fsync(request: pytest.FixtureRequest) -> Fsync:
    policy: Fsync = request.param
    return policy


class Appending(Disk):
    """A disk that notes and fails what is appended as well."""

    def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
        self._note("append", self._name(descriptor), len(data))
        length = super().append(descriptor, data[: self.most_per_write], synced=False)
        if synced:
            self.sync(descriptor)
        return length

    def append_now(self, descriptor: int, data: bytes | memoryview) -> int:
        return self.append(descriptor, data, synced=False)


def journal_of(store: KVStore) -> Journal:
    assert isinstance(store._journal, Journal)
    return store._journal


def kept_in(folder: Path) -> dict[str, Any]:
    """What the next start would find if the process ended now."""
    copy = folder.parent / f"{folder.name} as it is"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    with KVStore(copy) as store:
        return dict(store)


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.journal"))


WRITES: dict[str, Callable[[KVStore], object]] = {
    "set": lambda store: store.set("k", {"a": [1, None]}),
    "set a str": lambda store: store.set("text", "é"),
    "set bytes": lambda store: store.set("bytes", b"\xff"),
    "set long": lambda store: store.set("long", "x" * 1_000_000),
    "set for a time": lambda store: store.set("timed", [1], ttl=1000),
    "add": lambda store: store.add("new", 1),
    "incr": lambda store: store.incr("n", 2.5),
    "incr what expires": lambda store: store.incr("timed n"),
    "expire": lambda store: store.expire("text", 1000),
    "never expire": lambda store: store.expire("text", None),
    "setdefault": lambda store: store.setdefault("default", [1]),
    "update": lambda store: store.update({"a": 1, "b": "2"}, c=[3]),
    "delete": lambda store: store.delete("a"),
    "del": lambda store: store.__delitem__("b"),
    "pop": lambda store: store.pop("c"),
    "popitem": lambda store: store.popitem(),
    "clear": lambda store: store.clear(),
    "set behind that": lambda store: store.set("last", 1),
}


def test_each_call_is_kept_when_it_returns(tmp_path: Path, fsync: Fsync) -> None:
    folder = tmp_path / "data"
    with KVStore(folder, journal=True, fsync=fsync) as store:
        store.set("timed n", 5, ttl=1000)
        for name, write in WRITES.items():
            before = dict(store)
            write(store)
            found = kept_in(folder)
            assert found == dict(store), name
            assert name == "expire" or name == "never expire" or found != before, name
    assert kept_in(folder) == {"last": 1}
    with KVStore(folder, journal=True) as store:
        assert dict(store) == {"last": 1}


def test_expiry_is_kept(tmp_path: Path) -> None:
    with KVStore(tmp_path, journal=True) as store:
        store.set("k", 1, ttl=1000)
        store.set("n", 1, ttl=1000)
        store.incr("n")
        store.expire("n", 500)
    with KVStore(tmp_path) as store:
        assert 990 < (store.ttl("k") or 0) <= 1000
        assert 490 < (store.ttl("n") or 0) <= 500
        assert store["n"] == 2


def test_key_that_has_expired_is_recorded_before_what_comes_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = 1_700_000_000_000
    monkeypatch.setattr("kvserver.library.folder.now_ms", lambda: now_ms)
    with KVStore(tmp_path, journal=True) as store:
        store.set("k", 1, ttl=1)
        now_ms += 1_000
        assert store.get("k") is None
        assert store.add("k", 2)
        content = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*.journal")))
        assert content.count(b"\r\ndel\r\n$1\r\nk\r\n") == 1
        assert content.index(b"\r\ndel\r\n") < content.rindex(b"JSON.SET")
    now_ms = 1
    with KVStore(tmp_path) as store:
        assert dict(store) == {"k": 2}


def test_server_reads_what_the_library_has_written_and_the_other_way_round(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with KVStore(folder, journal=True) as store:
        store.update({"text": "é", "number": 1, "document": {"a": [1]}})
        store.set("bytes", b"\xff")
        store.set("timed", "x", ttl=1000)
        store.shutdown()
        store.incr("number")
        store["digits"] = "7"
        with pytest.raises(MediumLocked):
            ServerFolder(folder)
    server = start_server(*ALWAYS, directory=folder)
    with server.connect() as wire:
        assert wire.value("MGET", "text", "number", "document", "bytes", "timed") == [
            "é".encode(),
            b"2",
            b'{"a":[1]}',
            b"\xff",
            b"x",
        ]
        assert 990 < wire.value("TTL", "timed") <= 1000
        assert wire.value("INCR", "digits") == 8
        wire.command("JSON.SET", "document", "$", "[2]")
        wire.command("SADD", "set", "a", "b")
        wire.command("DEL", "text")
    server.kill()
    with KVStore(folder, journal=True) as store:
        assert store.incr("digits") == 9
        assert store.incr("number") == 3
        assert {key: store.get(key) for key in ("text", "document", "set", "bytes")} == {
            "text": None, "document": [2], "set": {"a", "b"}, "bytes": b"\xff",
        }  # fmt: skip
    with start_server(*ALWAYS, directory=folder).connect() as wire:
        assert wire.value("MGET", "digits", "number") == [b"9", b"3"]
        assert wire.value("SCARD", "set") == 2


# --- Frames ---


def test_frame_takes_the_journals_place_and_what_comes_behind_it_stays(tmp_path: Path, fsync: Fsync) -> None:
    folder = tmp_path / "data"
    with KVStore(folder, journal=True, fsync=fsync) as store:
        for turn in range(3):
            store["before"] = turn
            earlier = segments(folder)
            store.shutdown()
            assert len(segments(folder)) == 1
            assert segments(folder) > earlier
            assert kept_in(folder) == dict(store)
            store["after"] = turn
            assert kept_in(folder) == {"before": turn, "after": turn}


def test_what_others_write_while_a_frame_is_written_is_kept(tmp_path: Path, fsync: Fsync) -> None:
    folder = tmp_path / "data"
    with KVStore(folder, journal=True, fsync=fsync) as store:
        store.update(a=1, b=1)
        kept = store._kept
        assert isinstance(kept, ServerFolder)
        add, seen = kept._add, list[dict[str, Any]]()

        def add_slowly(payload: Any, key_count: int) -> Any:
            for number in range(2):
                store["a"] = 2 + number
                seen.append(kept_in(folder))
                if not number:
                    frame = add(payload, key_count)
            return frame

        kept._add = add_slowly  # type: ignore[method-assign]
        store.shutdown()
        assert seen == [{"a": 2, "b": 1}, {"a": 3, "b": 1}]
        assert kept_in(folder) == {"a": 3, "b": 1}


def test_journal_that_has_outgrown_its_frame_gets_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "LEAST_OUTGROWN_BYTES", 10_000)
    folder = tmp_path / "data"
    with KVStore(folder, journal=True) as store:
        # The frame grows to 5,000 bytes; 5,000 more are journal.
        for number in range(60):
            store[f"key {number % 50}"] = "x" * 100
            assert sum((folder / name).stat().st_size for name in segments(folder)) < 12_000
        assert (folder / "dump.kvs").stat().st_size > 5_000
        assert kept_in(folder) == dict(store)
        # A frame of 100,000 bytes lets the journal become as long.
        store["long"] = "x" * 100_000
        store.shutdown()
        there = segments(folder)
        for _ in range(500):
            store["k"] = "x" * 100
        assert segments(folder) == there
        assert kept_in(folder) == dict(store)

        def fail(payload: object, key_count: int) -> None:
            raise MediumError("no room")

        assert isinstance(store._kept, ServerFolder)
        add, store._kept._add = store._kept._add, fail  # type: ignore[method-assign, assignment]
        for _ in range(600):
            store["k"] = "x" * 100
        failures = [record.levelno for record in caplog.records if "no room" in record.getMessage()]
        assert set(failures) == {logging.ERROR}
        assert len(failures) < 12, "each write has tried again"
        assert kept_in(folder) == dict(store)
        store._kept._add = add  # type: ignore[method-assign]
        before = segments(folder)
        for _ in range(600):
            store["k"] = "x" * 100
        assert len(segments(folder)) == 1
        assert segments(folder) > before
        assert kept_in(folder) == dict(store)


def test_restore_reads_the_journal_again_and_goes_on_with_it(tmp_path: Path, fsync: Fsync) -> None:
    folder = tmp_path / "data"
    with KVStore(folder, journal=True, fsync=fsync) as store:
        assert store.restore() is True, "the journal that was begun is there"
        for number in range(3):
            store[f"key {number}"] = number
            assert store.restore() is True
            assert len(store) == number + 1
            assert kept_in(folder) == dict(store)
        store.shutdown()
        store["more"] = 1
        assert store.restore() is True
        assert kept_in(folder) == dict(store) == {"key 0": 0, "key 1": 1, "key 2": 2, "more": 1}


def test_restore_that_cannot_read_leaves_the_journal_as_it_was(tmp_path: Path, fsync: Fsync) -> None:
    disk, folder = Appending(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync=fsync) as store:
        store["a"] = 1
        disk.is_broken_for = {"read"}
        with pytest.raises(MediumError, match="cannot read"):
            store.restore()
        disk.is_broken_for = set()
        store["b"] = 2
        assert kept_in(folder) == dict(store) == {"a": 1, "b": 2}


# --- Syncs ---


def test_always_syncs_before_a_call_returns_and_everysec_soon(
    tmp_path: Path, fsync: Fsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SYNC_INTERVAL_S", 0.001 if fsync == "everysec" else 3600)
    disk = Appending()
    with KVStore(ServerFolder(tmp_path, filesystem=disk), journal=True, fsync=fsync) as store:
        for number in range(20):
            disk.calls.clear()
            store["k"] = number
            [name] = segments(tmp_path)
            if fsync == "everysec":
                wait_until(lambda: ("sync", name) in disk.names("sync"), "the sync of a record")  # noqa: B023
            assert ("sync", name) in disk.names("sync")
            calls = [call for call in disk.names("append", "sync") if call[1] == name]
            assert calls[:1] == [("append", name)]


def test_everysec_leaves_syncing_to_a_thread_that_ends_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SYNC_INTERVAL_S", 3600)
    disk = Appending()
    before = set(threading.enumerate())
    with KVStore(ServerFolder(tmp_path, filesystem=disk), journal=True) as store:
        [thread] = set(threading.enumerate()) - before
        assert thread.daemon
        disk.calls.clear()
        store["k"] = 1
        assert not disk.names("sync")
    assert len(disk.names("sync")) == 1, "what was written is not synced when the store is closed"
    assert not thread.is_alive()
    with KVStore(tmp_path, journal=True, fsync="always") as store:
        store["k"] = 2
        assert set(threading.enumerate()) <= before


def test_threads_share_a_sync(tmp_path: Path) -> None:
    """Whoever writes while a sync is under way waits for the next one, with all others."""
    disk = Appending()
    has_begun, may_end = threading.Event(), threading.Event()
    sync = disk.sync

    def sync_slowly(descriptor: int) -> None:
        sync(descriptor)
        has_begun.set()
        assert may_end.wait(30)

    with KVStore(ServerFolder(tmp_path, filesystem=disk), journal=True, fsync="always") as store:
        disk.calls.clear()
        disk.sync = sync_slowly  # type: ignore[method-assign]
        threads = [threading.Thread(target=store.set, args=(f"key {number}", number)) for number in range(10)]
        threads[0].start()
        assert has_begun.wait(30)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: len(store) == 10, "the writes of all, which others read before they are synced")
        may_end.set()
        for thread in threads:
            thread.join()
        assert len(disk.names("sync")) == 2
        disk.sync = sync  # type: ignore[method-assign]


# --- Disks that fail ---


def test_write_that_fails_changes_nothing_and_nothing_is_written_until_a_frame_succeeds(tmp_path: Path, fsync: Fsync) -> None:
    disk, folder = Appending(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync=fsync) as store:
        store.update(a=1, b=2, n=1)
        before = dict(store)
        disk.most_per_write = 10
        # The rest of a record that was begun can't be written.
        disk.fail("append", 0, errno.ENOSPC)
        with pytest.raises(MediumError, match="No space left"):
            store["a"] = 2
        disk.most_per_write = None
        for name, write in WRITES.items():
            if name in ("popitem", "pop", "never expire", "expire"):
                continue
            with pytest.raises(MediumPoisoned, match=r"until shutdown\(\) succeeds.*No space left"):
                write(store)
            assert dict(store) == before, name
        assert kept_in(folder) == before
        assert store.shutdown() is True
        store["a"] = 3
        assert kept_in(folder) == dict(store) == {**before, "a": 3}


def test_sync_that_fails_is_told_and_a_frame_heals_it(tmp_path: Path, fsync: Fsync, caplog: pytest.LogCaptureFixture) -> None:
    disk, folder = Appending(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync=fsync) as store:
        store["a"] = 1
        disk.fail("sync", errno.EIO)
        if fsync == "always":
            with pytest.raises(MediumError, match="Input/output error"):
                store["a"] = 2
        else:
            journal_of(store).sync_late()
            assert "nothing is written until shutdown() succeeds" in caplog.text
        with pytest.raises(MediumPoisoned, match="Input/output error"):
            store["b"] = 1
        assert "b" not in store
        before = dict(store)
        assert store.shutdown() is True
        store["b"] = 2
        assert kept_in(folder) == {**before, "b": 2}


def test_restore_does_not_heal_a_sync_that_failed(tmp_path: Path, fsync: Fsync) -> None:
    disk, folder = Appending(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync=fsync) as store:
        store["a"] = 1
        disk.fail("sync", errno.EIO)
        if fsync == "always":
            with pytest.raises(MediumError):
                store["a"] = 2
        else:
            # Then `restore` syncs, and that fails.
            store["a"] = 2
        for _ in range(2):
            assert store.restore() is True
            with pytest.raises(MediumPoisoned, match=r"until shutdown\(\) succeeds.*Input/output error"):
                store["b"] = 1
        assert dict(store) == {"a": 2}
        disk.calls.clear()
        store.shutdown()
        assert ("write", "dump.kvs") in disk.names("write")
        store["b"] = 2
        assert store.restore() is True
        store["c"] = 3
        assert kept_in(folder) == dict(store) == {"a": 2, "b": 2, "c": 3}


def test_thread_that_syncs_outlives_any_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "SYNC_INTERVAL_S", 0.001)
    disk = Appending()
    with KVStore(ServerFolder(tmp_path / "data", filesystem=disk), journal=True) as store:
        journal = journal_of(store)

        def sync(descriptor: int) -> None:
            raise MemoryError("no memory")

        with monkeypatch.context() as patch:
            patch.setattr(disk, "sync", sync)
            store["a"] = 1
            wait_until(lambda: bool(caplog.records), "the failure in the log")
        assert "nothing is written until shutdown() succeeds: no memory" in caplog.text
        with pytest.raises(MediumPoisoned, match="no memory"):
            store["b"] = 1
        store.shutdown()
        store["b"] = 1
        wait_until(lambda: journal._synced == journal.written, "a sync by the thread")


@pytest.mark.parametrize("method", ["open", "append", "write", "sync", "rename", "remove"])
def test_frame_that_does_not_heal_leaves_all_refused(tmp_path: Path, method: str) -> None:
    disk, folder = Appending(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync="always") as store:
        store["a"] = 1
        disk.fail("append", errno.EIO)
        with pytest.raises(MediumError):
            store["a"] = 2
        disk.is_broken_for = {method}
        try:
            store.shutdown()
        except MediumError:
            with pytest.raises(MediumPoisoned):
                store["a"] = 3
            assert dict(store) == {"a": 1}
            assert kept_in(folder) == {"a": 1}
        disk.is_broken_for = set()
        store.shutdown()
        store["a"] = 4
        assert kept_in(folder) == {"a": 4}


def test_close_heals_or_tells(tmp_path: Path) -> None:
    for is_broken in (True, False):
        disk, folder = Appending(), tmp_path / f"data {is_broken}"
        store = KVStore(ServerFolder(folder, filesystem=disk), journal=True)
        store["a"] = 1
        disk.fail("sync", errno.EIO)
        journal_of(store).sync_late()
        if is_broken:
            disk.is_broken_for = {"write"}
            with pytest.raises(MediumError):
                store.close()
        else:
            store.close()
            assert segments(folder)
        disk.is_broken_for = set()
        with KVStore(folder) as again:
            assert dict(again) == {"a": 1}


def test_sync_that_fails_when_the_store_is_closed_is_healed_by_a_frame(tmp_path: Path) -> None:
    disk, folder = Appending(), tmp_path / "data"
    store = KVStore(ServerFolder(folder, filesystem=disk), journal=True)
    store["a"] = 1
    disk.fail("sync", errno.EIO)
    store.close()
    assert b'{"a":1}' in (folder / "dump.kvs").read_bytes()
    store = KVStore(ServerFolder(folder, filesystem=disk), journal=True)
    store["a"] = 2
    disk.is_broken_for = {"sync"}
    with pytest.raises(MediumError, match="Input/output error"):
        store.close()
    KVStore(folder).close()


def test_folder_that_is_closed_before_its_store_has_all_and_takes_no_more(tmp_path: Path, fsync: Fsync) -> None:
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder, journal=True, fsync=fsync)
        store["a"] = 1
    with pytest.raises(StoreClosed, match="the folder of the store is closed"):
        store["a"] = 2
    assert dict(store) == {"a": 1}
    store.close()
    with KVStore(tmp_path) as again:
        assert dict(again) == {"a": 1}


class Interrupted(Appending):
    """A disk during whose next append a signal comes."""

    is_due = False

    def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
        if self.is_due:
            self.is_due = False
            super().append(descriptor, data[:20], synced=False)
            raise KeyboardInterrupt
        return super().append(descriptor, data, synced=synced)


def test_signal_amid_a_write_lets_nothing_follow_half_of_a_record(tmp_path: Path) -> None:
    disk, folder = Interrupted(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True) as store:
        store["a"] = 1
        disk.is_due = True
        with pytest.raises(KeyboardInterrupt):
            store["a"] = 2
        with pytest.raises(MediumPoisoned, match="KeyboardInterrupt"):
            store["a"] = 3
        assert kept_in(folder) == {"a": 1} == dict(store)
    with KVStore(folder) as again:
        assert dict(again) == {"a": 1}


def test_failure_while_a_frame_is_written_leaves_the_journal_before_it_in_its_place(tmp_path: Path, fsync: Fsync) -> None:
    disk, folder = Interrupted(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync=fsync) as store:
        store["a"] = 1
        assert isinstance(store._kept, ServerFolder)
        add = store._kept._add

        def add_while_others_fail(payload: Any, key_count: int) -> Any:
            store["b"] = 2
            disk.is_due = True
            with pytest.raises(KeyboardInterrupt):
                store["c"] = 3
            return add(payload, key_count)

        store._kept._add = add_while_others_fail  # type: ignore[method-assign]
        with pytest.raises(MediumPoisoned, match="failed while the frame was written"):
            store.shutdown()
        store._kept._add = add  # type: ignore[method-assign]
        assert kept_in(folder) == {"a": 1, "b": 2} == dict(store)
        store.shutdown()
        store["c"] = 4
        assert kept_in(folder) == {"a": 1, "b": 2, "c": 4}


def test_who_waits_for_a_sync_while_the_journal_fails_is_told(tmp_path: Path) -> None:
    disk, folder = Appending(), tmp_path / "data"
    with KVStore(ServerFolder(folder, filesystem=disk), journal=True, fsync="always") as store:
        journal = journal_of(store)
        with store.lock:
            journal.write([[b"SET", b"a", b"1"]])
            store.databases[0].set(b"a", b"1")
            disk.fail("append", errno.EIO)
            with pytest.raises(MediumError):
                store["b"] = 1
        # A frame is on its way that heals it.
        journal.cut()
        with pytest.raises(MediumPoisoned, match="may not be kept"):
            journal.settle()
        store.shutdown()
        journal.settle()
        assert kept_in(folder) == {"a": "1"}


# --- Opening ---


@pytest.mark.parametrize("place", [None, MemoryMedium(), "file"], ids=["memory", "medium", "file"])
def test_what_is_no_folder_has_no_journal(tmp_path: Path, place: Any) -> None:
    place = FileMedium(tmp_path / "users.kvs") if place == "file" else place
    with pytest.raises(ValueError, match=r'KVStore\("folder", journal=True\)'):
        KVStore(place, journal=True)
    KVStore(place).close()


@pytest.mark.parametrize("fsync", ["no", "", None, True])
def test_policy_that_is_none_is_refused(tmp_path: Path, fsync: Any) -> None:
    with pytest.raises(ValueError, match="fsync is 'always' or 'everysec', not"):
        KVStore(tmp_path / "data", journal=True, fsync=fsync)
    assert not (tmp_path / "data").exists()


def test_journal_that_cannot_be_begun_lets_go_of_the_folder(tmp_path: Path) -> None:
    disk = Appending()
    folder = ServerFolder(tmp_path, filesystem=disk)
    disk.is_broken_for = {"sync_folder"}
    with pytest.raises(MediumError):
        KVStore(folder, journal=True)
    KVStore(tmp_path, journal=True).close()


def test_store_that_is_forgotten_lets_go_of_its_folder(tmp_path: Path, fsync: Fsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SYNC_INTERVAL_S", 0.001)
    store = KVStore(tmp_path, journal=True, fsync=fsync)
    store["a"] = 1
    store.shutdown()
    store["a"] = 2
    gc.collect()
    with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031
        del store
        # The thread may hold the journal for the moment of a sync, but never the store.
        wait_until(lambda: can_be_opened(tmp_path), "the folder that nobody uses")
    with KVStore(tmp_path) as again:
        assert again["a"] == 2


def can_be_opened(folder: Path) -> bool:
    try:
        ServerFolder(folder).close()
    except MediumLocked:
        return False
    return True


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    wait_until(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "kvserver-journal"], "the threads' end"
    )
