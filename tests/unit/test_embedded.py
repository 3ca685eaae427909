"""A server within a program, in a thread of its own: it serves while the block lasts, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import doctest
import gc
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import kvserver
from helpers.servers import DEADLINE_S, ServerProcess, kvserver_environment, wait_until
from kvserver import embedded
from kvserver import server as of_server
from kvserver.control import clock
from kvserver.control.onloop import OnLoop
from kvserver.errors import ConfigError, MediumError, NotRunning, StartError
from kvserver.persistence.snapshots import Snapshots


@pytest.fixture
def server() -> Iterator[embedded.RunningServer]:
    with kvserver.running() as server:
        yield server


@pytest.fixture
def client(server: embedded.RunningServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.mark.parametrize("module", [embedded, of_server, clock])
def test_examples_of_the_docstrings(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 1
    assert not found.failed


# --- its life


def test_it_serves_when_the_block_begins_and_not_behind_it() -> None:
    threads = set(threading.enumerate())
    with kvserver.running() as server:
        assert server.is_running
        assert repr(server) == f"<kvserver at redis://127.0.0.1:{server.port}/0>"
        with redis.Redis.from_url(server.url) as client:
            assert client.set("a", 1)
            assert client.get("a") == b"1"
        port = server.port
    assert not server.is_running
    assert set(threading.enumerate()) == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_nothing_is_on_the_disk_and_saving_works(client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    client.set("a", 1)
    assert client.save()
    client.flushall()
    assert client.execute_command("RESTORE") == 1  # type: ignore[no-untyped-call]
    assert client.get("a") == "1"
    assert client.config_get("dir") == {"dir": "memory:"}
    client.config_set("appendonly", "yes")
    client.set("a", 2)
    assert client.execute_command("DEBUG RELOAD") == "OK"  # type: ignore[no-untyped-call]
    assert client.bgrewriteaof()
    assert client.get("a") == "2"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{}, {"appendonly": False, "save": ""}])
def test_folder_has_all_data_behind_the_block(tmp_path: Path, options: dict[str, object]) -> None:
    with kvserver.running(dir=tmp_path / "data", **options) as server, redis.Redis.from_url(server.url) as client:
        client.set("a", 1)
    with kvserver.running(dir=tmp_path / "data", **options) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("a") == b"1"
    # The program finds the same.
    with ServerProcess("kvserver", tmp_path / "data") as process:
        assert process.once("GET", "a") == b"$1\r\n1\r\n"


def test_what_could_not_be_saved_is_told_and_the_server_has_ended(tmp_path: Path) -> None:
    server = kvserver.running(dir=tmp_path / "data", appendonly=False)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("a", 1)
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(MediumError, match="the server has ended, and could not save: "):
        server.stop()
    assert not server.is_running
    with kvserver.running(dir=tmp_path / "moved"):
        pass


def test_shutdown_of_a_client_ends_the_server_and_the_block_the_thread(server: embedded.RunningServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.shutdown()
    wait_until(lambda: not server.is_running, "the server has ended")
    with pytest.raises(NotRunning, match="was not started, or has ended"):
        server.clock.advance(1)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    server.stop()
    server.stop()


def test_server_can_be_started_and_stopped_without_a_block() -> None:
    server = kvserver.running()
    with pytest.raises(NotRunning):
        server.clock.advance(1)
    server.start()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    server.stop()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    server.stop()


@pytest.mark.parametrize("interrupts", [1, 2])
def test_stop_that_is_interrupted_ends_the_server_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupts: int
) -> None:
    threads, saves, goes_on = set(threading.enumerate()), threading.Event(), threading.Event()
    wait_for, wait = OnLoop._wait_for, Snapshots.wait
    server = kvserver.running(dir=tmp_path / "data", appendonly=False)

    async def hold(snapshots: Snapshots) -> None:
        saves.set()
        await asyncio.to_thread(goes_on.wait)
        await wait(snapshots)

    # A signal would come at any moment, and these are the two at which a program waits.
    def interrupt_while_it_saves(on_loop: OnLoop, work: Coroutine[Any, Any, object]) -> object:
        if saves.is_set():
            return wait_for(on_loop, work)
        asyncio.run_coroutine_threadsafe(work, on_loop._present())
        saves.wait(DEADLINE_S)
        if interrupts == 1:
            goes_on.set()
        raise KeyboardInterrupt

    def interrupt_again(timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("a", 1)
    with monkeypatch.context() as patched:
        patched.setattr(Snapshots, "wait", hold)
        patched.setattr(OnLoop, "_wait_for", interrupt_while_it_saves)
        if interrupts == 2:
            patched.setattr(server._has_ended, "wait", interrupt_again)
        with pytest.raises(KeyboardInterrupt):
            server.stop()
        assert (set(threading.enumerate()) > threads) == (interrupts == 2)
        goes_on.set()
    server.stop()
    assert (server.is_running, set(threading.enumerate())) == (False, threads)
    with kvserver.running(dir=tmp_path / "data") as other, redis.Redis.from_url(other.url) as client:
        assert client.get("a") == b"1"
    with server, redis.Redis.from_url(server.url) as client:
        assert client.get("a") == b"1"


def test_threads_that_start_and_stop_one_server_at_once_leave_nothing() -> None:
    threads, server = set(threading.enumerate()), kvserver.running()
    for call in (server.start, server.stop):
        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(DEADLINE_S)
        assert sum(each.name == "kvserver" for each in set(threading.enumerate()) - threads) == server.is_running
    assert set(threading.enumerate()) == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_several_run_at_once_each_with_its_own_data() -> None:
    with kvserver.running() as one, kvserver.running() as other, kvserver.running() as third:
        clients = [redis.Redis.from_url(server.url) for server in (one, other, third)]
        for number, client in enumerate(clients):
            client.set("a", number)
        assert [client.get("a") for client in clients] == [b"0", b"1", b"2"]
        for client in clients:
            client.close()


def test_server_has_no_port_before_it_has_found_one() -> None:
    server = kvserver.running()
    for name in ("url", "port", "address"):
        with pytest.raises(NotRunning, match="no port yet"):
            getattr(server, name)
    assert repr(server) == "<kvserver, not running>"
    with server:
        url = server.url
    assert server.url == url
    assert kvserver.running(port=7000).url == "redis://127.0.0.1:7000/0"


def test_appendfsync_alone_switches_the_journal_on() -> None:
    with kvserver.running(appendfsync="always") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("a", 1)
        server.faults.crash()
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("a") == b"1"


async def test_it_runs_beside_the_event_loop_of_its_caller() -> None:
    with kvserver.running() as server:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.set("a", 1, ex=10)
            server.clock.advance(10)
            assert await client.get("a") is None


# --- a server on the caller's loop


async def test_server_on_the_running_loop(tmp_path: Path) -> None:
    async with kvserver.Server(dir=tmp_path / "data", requirepass="p@ss") as server:
        assert server.is_running
        assert server.url == f"redis://:p%40ss@127.0.0.1:{server.port}/0"
        assert server.address == f"127.0.0.1:{server.port}"
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.set("a", 1)
        with pytest.raises(StartError, match=rf"runs already, on 127\.0\.0\.1:{server.port}"):
            await server.start()
    assert not server.is_running
    await server.stop()
    async with server, redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.get("a") == b"1"


async def test_unix_socket_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with kvserver.Server(unixsocket=path) as server:
        assert (server.url, server.address, server.port) == (f"unix://{path}?db=0", path, 0)
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.ping()
    assert not os.path.exists(path)


def test_paths_stay_where_they_were_when_the_program_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with kvserver.running(dir="data", unixsocket="s") as server, redis.Redis.from_url(server.url) as client:
        assert server.address == str(tmp_path / "s")
        server.empty()
        client.set("a", 1)
        assert client.config_get("dir") == {"dir": str(tmp_path / "data")}
        monkeypatch.chdir(tmp_path / "elsewhere")
        server.faults.crash()
        server.restart()
        assert client.get("a") == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "elsewhere"]


async def test_second_start_meanwhile_is_refused_and_holds_nothing() -> None:
    server = kvserver.Server()
    first, second = await asyncio.gather(server.start(), server.start(), return_exceptions=True)
    assert (first, str(second)) == (None, "the server is being started already")
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


async def test_start_that_is_cancelled_holds_nothing(tmp_path: Path) -> None:
    server = kvserver.Server(dir=tmp_path / "data")
    task = asyncio.ensure_future(server.start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with kvserver.Server(dir=tmp_path / "data"):
        pass


async def test_stop_that_is_cancelled_ends_the_server_all_the_same(tmp_path: Path) -> None:
    tasks = asyncio.all_tasks()
    server = kvserver.Server(dir=tmp_path / "data", appendonly=False)
    await server.start()
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("a", 1)
    stop = asyncio.ensure_future(server.stop())
    await asyncio.sleep(0)
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    await server.stop()
    assert (server.is_running, asyncio.all_tasks()) == (False, tasks)
    async with server, redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.get("a") == b"1"


# --- what goes wrong


def test_port_in_use_is_one_line(server: embedded.RunningServer) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(StartError) as raised, kvserver.running(port=server.port):
        pass
    taken = f"cannot listen on 127.0.0.1:{server.port}: Address already in use"
    assert str(raised.value) == f'{taken}; port="auto" takes any that is free'
    assert set(threading.enumerate()) == threads


def test_folder_that_another_process_holds_is_one_line(tmp_path: Path) -> None:
    server = kvserver.running(dir=tmp_path / "data")
    with ServerProcess("kvserver", tmp_path / "data") as other, pytest.raises(StartError) as raised:
        server.start()
    holder = f"another kvserver (process {other.process.pid})"
    assert str(raised.value) == f"the directory {tmp_path / 'data'} is in use by {holder}; dir= takes another directory"


def test_folder_that_a_server_of_this_process_holds_is_one_line(tmp_path: Path) -> None:
    server = kvserver.running(dir=tmp_path / "data")
    with kvserver.running(dir=tmp_path / "data"), pytest.raises(StartError, match="is in use by another kvserver"):
        server.start()


def test_option_that_is_none_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"did you mean maxmemory\?"):
        kvserver.running(maxmemori="1mb")
    with pytest.raises(ConfigError, match="maxmemory: argument must be a memory value"):
        kvserver.Server(maxmemory="lots")


def test_in_a_forked_process_the_address_holds_and_the_rest_is_an_error(server: embedded.RunningServer) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # Nothing of pytest's may run here.
        told = []
        try:
            calls: tuple[Callable[[], None], ...] = (lambda: server.clock.advance(1), server.start, server.stop)
            for call in calls:
                try:
                    call()
                except NotRunning as error:
                    told.append(str(error))
            server.__exit__()
            told.append(str(server.is_running))
            with redis.Redis.from_url(server.url) as client:
                client.set("child", 1)
        finally:
            os.write(writing, "\n".join(told).encode())
            os._exit(0)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told_by_child:
        os.close(writing)
        line = f"the server runs in process {os.getpid()}, from which this one was forked: start another one here"
        assert told_by_child.read().splitlines() == [line, line, line, "False"]
    with redis.Redis.from_url(server.url) as client:
        assert client.get("child") == b"1"


def test_forked_process_keeps_neither_the_port_nor_the_folder(tmp_path: Path) -> None:
    server = kvserver.running(dir=tmp_path / "data")
    server.start()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        # It lives until the test lets it go.
        os.read(reading, 1)
        os._exit(0)
    try:
        port = server.port
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with kvserver.running(dir=tmp_path / "data", port=port):
            pass
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


# --- what belongs to the process


def settings_of_the_process() -> tuple[object, ...]:
    log = logging.getLogger("kvserver")
    umask = os.umask(0)
    os.umask(umask)
    signals = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    return gc.get_threshold(), sys.getswitchinterval(), umask, signals, log.level, list(log.handlers), log.propagate


def test_nothing_that_belongs_to_the_process_is_touched() -> None:
    before, frozen = settings_of_the_process(), gc.get_freeze_count()
    with kvserver.running() as server, redis.Redis.from_url(server.url) as client:
        client.zadd("scores", {str(number): number for number in range(20_000)})
        assert settings_of_the_process() == before
        assert gc.get_freeze_count() == frozen
    assert settings_of_the_process() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has modes of sockets")
def test_mode_of_a_unix_socket_needs_no_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(mask: int) -> int:
        raise AssertionError("the umask is the whole process's")

    monkeypatch.setattr(os, "umask", refuse)
    for mode in (0o700, 0o777):
        with kvserver.running(unixsocket=tmp_path / "s", unixsocketperm=mode):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode


QUIET_PROGRAM = """
import kvserver
with kvserver.running(bind="0.0.0.0", protected_mode=False) as server:
    server.clock.advance(1)
try:
    kvserver.running(dir="/dev/null").start()
except kvserver.KVServerError as error:
    print(error)
"""


def test_program_without_logging_gets_no_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET_PROGRAM], capture_output=True, text=True, env=kvserver_environment(), check=True
    )
    assert done.stderr == ""
    assert done.stdout == "cannot use the directory /dev/null: Not a directory\n"


def test_program_that_logs_gets_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kvserver"), kvserver.running():
        pass
    assert any(record.message.startswith("Ready to accept connections on redis://127.0.0.1:") for record in caplog.records)
