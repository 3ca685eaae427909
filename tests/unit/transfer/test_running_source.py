"""A running redis-server sends all that it has, and why it does not is told in a line."""

from __future__ import annotations

import pytest

from helpers.fake_source import EMPTY, FakeSource
from helpers.servers import ServerProcess
from kvserver.errors import SourceInvalid, TransferError
from kvserver.transfer.running_source import load
from kvserver.transfer.staging import Staging


def all_of(url: str) -> tuple[Staging, list[tuple[int, int]]]:
    staging, reports = Staging(), list[tuple[int, int]]()
    load(url, staging, lambda done, total: reports.append((done, total)))
    return staging, reports


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_all_data_comes(redis_oracle: ServerProcess, diskless: str) -> None:
    with redis_oracle.connect() as wire:
        wire.command("CONFIG", "SET", "repl-diskless-sync", diskless, "repl-diskless-sync-delay", 0)
        wire.command("SET", "k", "v", "PXAT", 2_000_000_000_000)
        wire.command("SELECT", 3)
        wire.command("HSET", "h", "f", "v")
    staging, reports = all_of(f"redis://127.0.0.1:{redis_oracle.port}")
    assert staging.databases[0].expires_at_ms(b"k") == 2_000_000_000_000
    assert staging.databases.key_count == 2
    done, total = reports[-1]
    assert done > 0
    assert total == (0 if diskless == "yes" else done)


def fake(answers: dict[bytes, bytes], data: bytes = EMPTY) -> str:
    with FakeSource(data) as source:
        source.answers = {b"INFO": b"$0\r\n\r\n", **answers}
        with pytest.raises(TransferError) as caught:
            all_of(f"redis://127.0.0.1:{source.port}")
    assert str(caught.value).startswith(("redis://127.0.0.1:", "no data from redis://127.0.0.1:"))
    return str(caught.value)


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({b"INFO": bulk(b"kvserver_version:1")}, "is a kvserver, which lets nobody follow it"),
        ({b"INFO": bulk(b"loading:1")}, "is loading its data: try again when it has ended"),
        ({b"INFO": bulk(b"master_link_status:down")}, "is a replica that has lost its source"),
        ({b"INFO": b"-NOAUTH no\r\n"}, "answers INFO: NOAUTH no"),
        ({b"PSYNC": b"-LOADING x\r\n"}, "Master is currently unable to PSYNC"),
        ({b"PSYNC": b"x" * 100_000}, "it answers by a line without an end"),
        ({b"PSYNC": b"+FULLRESYNC %b 1\r\n-ERR no disk\r\n" % (b"a" * 40)}, "MASTER aborted replication with an error"),
    ],
)
def test_refusal_is_told_in_a_line(answers: dict[bytes, bytes], told: str) -> None:
    assert told in fake(answers)


def test_data_that_is_damaged_is_told() -> None:
    with FakeSource(b"$10\r\nREDIS0011\xc8") as source:
        source.answers = {b"INFO": b"$0\r\n\r\n"}
        with pytest.raises(TransferError, match="200 is no type and no opcode"):
            all_of(f"redis://127.0.0.1:{source.port}")
    library = b"\xf5\x01x"
    data = EMPTY.replace(b"\xff" + bytes(8), library + b"\xff" + bytes(8))
    with FakeSource(b"$%d\r\n%b" % (len(data), data)) as source:
        source.answers = {b"INFO": b"$0\r\n\r\n"}
        with pytest.raises(SourceInvalid, match="a function library is none"):
            all_of(f"redis://127.0.0.1:{source.port}")
