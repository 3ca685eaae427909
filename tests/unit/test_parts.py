"""The parts of a server: what each of their steps opens, and what none of them leaves behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.servers import free_port
from kvserver.control.clock import Clock
from kvserver.control.onloop import OnLoop
from kvserver.options.keywords import from_keywords
from kvserver.parts import Parts
from kvserver.persistence.local_data import LocalData
from kvserver.storage import Storage
from kvserver.supervisor import Supervisor


def made(folder: Path, **options: object) -> Parts:
    config = from_keywords({"dir": str(folder), "port": free_port(), **options})
    return Parts(config, Clock(OnLoop()), Supervisor(""), owns_process=False)


async def tied(parts: Parts) -> None:
    """Tie parts to the data of their folder. Nobody asks for a failover."""

    async def fail_over() -> None:
        raise AssertionError("a server of a folder has nobody to lead")

    storage = Storage(parts.state.config, in_words_of_the_shell=False)
    data = await storage.open(parts.state, parts.table, parts.wake)
    assert isinstance(data, LocalData)
    parts.tie(data, lambda: None, fail_over)


async def ask(parts: Parts, command: bytes) -> bytes:
    """The first line of the answer to a command, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.state.config.port)
    writer.write(command + b"\r\n")
    line = await reader.readline()
    writer.close()
    return line


async def ended(parts: Parts) -> None:
    await parts.close()
    await parts.end_tasks()


async def test_making_opens_and_changes_nothing(tmp_path: Path) -> None:
    parts = made(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConnectionRefusedError):
        await ask(parts, b"PING")


async def test_clients_are_told_of_the_load_until_it_has_ended(tmp_path: Path) -> None:
    parts = made(tmp_path)
    await tied(parts)
    await parts.listen()
    assert (await ask(parts, b"GET a")).startswith(b"-LOADING")
    await parts.load()
    assert await ask(parts, b"GET a") == b"$-1\r\n"
    await ended(parts)


async def test_what_was_told_to_end_does_not_wait_for_the_load_nor_keep_time(tmp_path: Path) -> None:
    parts = made(tmp_path)
    await tied(parts)
    await parts.listen()
    load = asyncio.create_task(parts.load())
    await asyncio.sleep(0)
    parts.is_ending = True
    parts.cancel_load()
    await load
    assert parts.state.persistence.loading
    await ended(parts)


async def test_halted_parts_have_closed_their_ports_and_record_nothing(tmp_path: Path) -> None:
    parts = made(tmp_path, appendonly=True)
    await tied(parts)
    await parts.listen()
    await parts.load()
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.state.config.port)
    writer.write(b"SET a 1\r\n")
    assert await reader.readline() == b"+OK\r\n"
    parts.halt()
    with pytest.raises(ConnectionRefusedError):
        await ask(parts, b"PING")
    writer.write(b"SET b 2\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    assert not parts.data.journal.is_on
    assert parts.state.databases[0].peek(b"b") is None
    parts.data.abandon()
    await parts.end_tasks()


async def test_the_next_parts_have_nothing_of_those_before(tmp_path: Path) -> None:
    before = made(tmp_path, save="", appendonly=False)
    await tied(before)
    await before.listen()
    await before.load()
    assert await ask(before, b"SET a 1") == b"+OK\r\n"
    await ended(before)
    parts = made(tmp_path, save="", appendonly=False)
    await tied(parts)
    await parts.listen()
    await parts.load()
    assert (await ask(parts, b"GET a"), parts.state.counters.commands_processed) == (b"$-1\r\n", 1)
    await ended(parts)
