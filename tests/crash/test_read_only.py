"""A store that reads beside a busy server has, at each opening, data that the server really had then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.servers import StartServer, Wire
from kvserver import FileMedium, KVStore, MediumError, ServerFolder
from kvserver.errors import MediumDisplaced, StoreReadOnly
from kvserver.formats.frame import encode_frame
from kvserver.formats.record import encode_link, encode_records, pack
from kvserver.media.readonly import ReadOnlyLog
from kvserver.media.segments import FileLog
from kvserver.persistence.chain import Chain

# The reader goes on until it has looked so often, and the server has done as much.
OPENINGS = 40
SAVES = 40
WRITES = 100
WRITERS = 3


class Client:
    """A client that writes two counters in one step, again and again."""

    def __init__(self, number: int) -> None:
        self.left, self.right = f"left {number}", f"right {number}"
        # The numbers of the last write that was sent, and of the last one that was acknowledged.
        self.sent = self.acknowledged = 0

    def write(self, wire: Wire) -> None:
        self.sent += 1
        wire.command("MULTI")
        wire.command("INCR", self.left)
        wire.command("SET", "padding", "x" * 1000)
        wire.command("INCR", self.right)
        wire.command("EXEC")
        self.acknowledged = self.sent


@pytest.mark.parametrize("keep_frames", [1, 5])
def test_each_opening_gives_what_the_server_had_then(start_server: StartServer, tmp_path: Path, keep_frames: int) -> None:
    server = start_server(
        "--save", "", "--appendfsync", "everysec", "--keep-frames", str(keep_frames), directory=tmp_path
    )  # fmt: skip
    clients = [Client(number) for number in range(WRITERS)]
    has_ended = threading.Event()
    failures: list[BaseException] = []
    saves: list[bytes] = []

    def run(work: Callable[[Wire], object]) -> None:
        try:
            with server.connect() as wire:
                while not has_ended.is_set():
                    work(wire)
        except BaseException as failure:
            failures.append(failure)

    def save(wire: Wire) -> None:
        saves.append(wire.command("SAVE"))

    threads = [threading.Thread(target=run, args=(work,)) for work in (*(client.write for client in clients), save)]
    for thread in threads:
        thread.start()
    try:
        store = KVStore(tmp_path, read_only=True)
        turn = 0
        while turn < OPENINGS or len(saves) < SAVES or any(client.acknowledged < WRITES for client in clients):
            assert not failures
            turn += 1
            least = [client.acknowledged for client in clients]
            if turn % 2:
                store.restore()
            else:
                store.close()
                store = KVStore(tmp_path, read_only=True)
            most = [client.sent for client in clients]
            for number, client in enumerate(clients):
                found = int(store.get(client.left, 0))
                assert found == int(store.get(client.right, 0)), "half of a transaction"
                assert least[number] <= found <= most[number]
        store.close()
    finally:
        has_ended.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert set(saves) == {b"+OK\r\n"}
    print(f"{turn} openings beside {len(saves)} snapshots and {sum(client.sent for client in clients)} transactions")


def test_reader_begins_anew_where_what_it_reads_belongs_together_no_more(tmp_path: Path) -> None:
    """A snapshot ends, and the frame that the journal went on from goes, between the look at the one and at the other."""
    with ServerFolder(tmp_path) as folder, KVStore(folder, journal=True) as writer:
        folder.frames._state.config.keep_frames = 1
        writer["n"] = 0
        writer.shutdown()
        reader = ServerFolder(tmp_path, read_only=True)
        chain_of, looks = reader._recovery._chain, list[int]()

        async def chain_of_before(names: dict[int, str]) -> Chain:
            chain = await chain_of(names)
            looks.append(len(looks))
            if len(looks) < 4:
                for _ in range(5):
                    writer.incr("n")
                    writer.shutdown()
            return chain

        reader._recovery._chain = chain_of_before  # type: ignore[method-assign]
        store = KVStore(reader)
        assert store.restore() is True
        assert (looks, store["n"]) == ([0, 1, 2, 3], 15)
        looks[:] = []
        folder.frames._state.config.keep_frames = 5
        writer["n"] = 20
        segments = reader._log.segments

        def segments_of_before() -> dict[int, str]:
            found = segments()
            if not looks:
                looks.append(0)
                # All that was listed goes, but it is open.
                writer.shutdown()
                writer["n"] = 21
            return found

        reader._log.segments = segments_of_before  # type: ignore[method-assign]
        reader._recovery._chain = chain_of  # type: ignore[method-assign]
        assert store.restore() is True
        assert store["n"] == 20, "the data of the moment at which the reader looked"
        assert store.restore() is True
        assert store["n"] == 21
        reader.close()


def test_reader_that_never_finds_what_belongs_together_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KVStore(tmp_path, journal=True) as writer:
        writer["n"] = 1
        number = 0

        def vanish(log: ReadOnlyLog) -> dict[int, str]:
            nonlocal number
            number += 1
            raise MediumDisplaced(f"segment {number} was removed")

        with KVStore(tmp_path, read_only=True) as store:
            monkeypatch.setattr(ReadOnlyLog, "segments", vanish)
            with pytest.raises(MediumError, match="the files can't be read as they are: segment 100 was removed"):
                store.restore()
            assert dict(store) == {"n": 1}


def names(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_reader_leaves_all_as_it_is_and_writes_nothing(tmp_path: Path) -> None:
    with KVStore(tmp_path, journal=True) as writer:
        writer["a"] = 1
        writer.shutdown()
        writer["b"] = 2
        # A server may be in the midst of a frame and of a record.
        for path in (tmp_path / "dump.kvs", next(tmp_path.glob("*.journal"))):
            with path.open("ab") as file:
                file.write(b"KVS1" if path.suffix == ".kvs" else b"KVJ2")
        before = names(tmp_path)
        with KVStore(tmp_path, read_only=True) as store:
            assert dict(store) == {"a": 1, "b": 2}
            for write in (lambda: store.set("a", 2), store.clear, store.popitem, store.shutdown, lambda: store.incr("a")):
                with pytest.raises(StoreReadOnly, match="read_only"):
                    write()
            assert dict(store) == {"a": 1, "b": 2}
            assert store.frame()
            assert store.restore() is True
        with ServerFolder(tmp_path, read_only=True) as folder:
            for refused in (folder.add_frame, folder.apply_aside, lambda: KVStore(folder, journal=True)):
                with pytest.raises(StoreReadOnly, match=f"{tmp_path} was opened read_only|the store was opened read_only"):
                    refused()
            with pytest.raises(StoreReadOnly):
                KVStore(folder)["a"] = 3
        assert names(tmp_path) == before
        writer["c"] = 3


def test_reader_sees_what_has_been_written_since_when_it_restores(tmp_path: Path) -> None:
    with KVStore(tmp_path, journal=True) as writer, KVStore(tmp_path, read_only=True) as store:
        assert dict(store) == {}
        for number in range(3):
            writer["n"] = number
            assert store.get("n") == (number - 1 if number else None)
            assert store.restore() is True
            assert store["n"] == number
            writer.shutdown()
    with KVStore(tmp_path, read_only=True) as store:
        assert dict(store) == {"n": 2}


def test_what_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(MediumError, match="cannot read the directory"):
        KVStore(tmp_path / "nowhere", read_only=True)
    assert not list(tmp_path.iterdir())
    with KVStore(tmp_path, read_only=True) as store:
        assert store.restore() is False
        assert dict(store) == {}
    assert not list(tmp_path.iterdir())


def test_journal_whose_snapshot_is_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    with FileMedium(tmp_path / "dump.kvs") as medium:
        medium.append(encode_frame(b'{"a":"1"}'))
    log = FileLog(str(tmp_path / "dump.kvs"))
    log.cut(1)
    log.write(encode_link("0" * 64))
    log.write(encode_records([pack([[b"SET", b"b", b"2"]])]), synced=True)
    log.close()
    with pytest.raises(MediumError, match=r"goes on from the snapshot 0000000000000000…, which is not there") as caught:
        KVStore(tmp_path, read_only=True)
    assert "\n" not in str(caught.value)
    with KVStore(tmp_path) as store:
        assert dict(store) == {"a": "1"}


def test_medium_may_be_read_only_too(tmp_path: Path) -> None:
    with KVStore(FileMedium(tmp_path / "users.kvs")) as store:
        store["a"] = 1
    with KVStore(FileMedium(tmp_path / "users.kvs"), read_only=True) as store:
        assert store.restore() is True
        with pytest.raises(StoreReadOnly):
            del store["a"]
        assert dict(store) == {"a": 1}


def test_reader_has_no_journal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        KVStore(tmp_path, journal=True, read_only=True)
