"""All data of a source is read from both frames, in any pieces, and what comes behind it is left to the stream."""

from __future__ import annotations

import pytest

from helpers.servers import ServerProcess
from kvserver.commands import catalogue  # noqa: F401  (the kinds of values are known by it)
from kvserver.errors import LinkLost, SourceUnusable
from kvserver.following.transfer import MARK_BYTES, Transfer
from kvserver.formats.rdb_file import RDBEntry

MARK = bytes(range(65, 65 + MARK_BYTES))
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def rdb(running_redis: ServerProcess) -> bytes:
    """An RDB file of two keys."""
    with running_redis.connect() as wire:
        wire.command("FLUSHALL")
        wire.command("MSET", "a", "1", "b", "x" * 1000)
        wire.command("SAVE")
        return running_redis.directory.joinpath("dump.rdb").read_bytes()


def framed(data: bytes, *, by_mark: bool) -> bytes:
    return b"$EOF:%b\r\n%b%b" % (MARK, data, MARK) if by_mark else b"$%d\r\n%b" % (len(data), data)


def read(transfer: Transfer, *pieces: bytes) -> dict[bytes, object]:
    items = [item for piece in pieces for item in transfer.feed(piece)]
    return {item.key: item.value for item in items if isinstance(item, RDBEntry)}


@pytest.mark.parametrize("by_mark", [True, False])
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_data_is_read_in_any_pieces(rdb: bytes, size: int, *, by_mark: bool) -> None:
    data = b"\n\n" + framed(rdb, by_mark=by_mark) + b"*1\r\n$4\r\nPING\r\n"
    transfer = Transfer(LIMIT)
    found: dict[bytes, object] = {}
    place = 0
    while not transfer.is_done:
        found |= read(transfer, data[place : place + size])
        place += size
    assert found == {b"a": b"1", b"b": b"x" * 1000}
    assert transfer.rest + data[place:] == b"*1\r\n$4\r\nPING\r\n"
    assert transfer.read_bytes == len(rdb)
    assert transfer.total_bytes == (0 if by_mark else len(rdb))


def test_length_and_bytes_that_came_are_known_meanwhile(rdb: bytes) -> None:
    transfer = Transfer(LIMIT)
    read(transfer, b"\n", b"$10")
    assert not transfer.has_begun
    read(transfer, b"0000\r\n" + rdb[:50])
    assert (transfer.has_begun, transfer.total_bytes, transfer.read_bytes) == (True, 100_000, 50)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"+OK\r\n", "Bad protocol from MASTER, the first byte is not"),
        (b"$-1\r\n", "Bad protocol from MASTER, the first byte is not"),
        (b"x" * 100_000, "sends no data"),
        (b"$EOF:%b\r\nREDIX0011" % MARK, "can't be read: this is no RDB file"),
        (b"$9\r\nREDIS9999", "and this program reads up to"),
    ],
)
def test_what_is_no_data_is_told_in_a_line(data: bytes, told: str) -> None:
    with pytest.raises(SourceUnusable, match=told) as caught:
        read(Transfer(LIMIT), data)
    assert "\n" not in str(caught.value)


def test_error_of_the_source_may_pass() -> None:
    with pytest.raises(LinkLost, match="MASTER aborted replication with an error: ERR no disk") as caught:
        read(Transfer(LIMIT), b"-ERR no disk\r\n")
    assert not isinstance(caught.value, SourceUnusable)


def test_end_must_be_where_it_was_told(rdb: bytes) -> None:
    with pytest.raises(SourceUnusable, match="end with the mark"):
        read(Transfer(LIMIT), framed(rdb, by_mark=True)[:-1] + b"!")
    for length in (len(rdb) - 1, len(rdb) + 1):
        with pytest.raises(SourceUnusable, match="does not end where"):
            read(Transfer(LIMIT), b"$%d\r\n%b!" % (length, rdb))
