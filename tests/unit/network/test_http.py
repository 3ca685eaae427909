"""The HTTP port answers who asks rightly, tells others what is wrong, and no slow or hostile client keeps it from others."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

from helpers.servers import ServerProcess, StartServer, free_port, kvserver_environment
from helpers.sessions import Server
from helpers.starts import QUIET, failed_start

pytest.importorskip("h11")

from kvserver.network import http
from kvserver.network.http import HEADER_BYTES, MOST_CLIENTS, HTTPPort, why_not_ready
from kvserver.options.kinds import AUTO_PORT
from kvserver.state.session import ServerState


@pytest.fixture
def state() -> ServerState:
    return Server().state


@pytest.fixture
async def port(state: ServerState) -> AsyncIterator[int]:
    state.config.http_port = AUTO_PORT
    http_port = HTTPPort(state)
    await http_port.open()
    assert http_port.urls() == [f"http://127.0.0.1:{state.config.http_port}"]
    yield state.config.http_port
    http_port.close()
    await asyncio.gather(*http_port._clients)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes the connection or resets it."""
    said = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while piece := await reader.read(1 << 16):
                said += piece
    return said


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def answer_to(port: int, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers in lower case and the body of the answer to some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    head, _, body = (await ended(reader)).partition(b"\r\n\r\n")
    await closed(writer)
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ") for line in lines)}, body


def request(target: str, method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {target} HTTP/{version}\r\nHost: x\r\n\r\n".encode()


# --- what is answered


async def test_pages_are_there_and_every_answer_closes_the_connection(port: int) -> None:
    for target in ("/", "/metrics", "/healthz", "/readyz", "/healthz?verbose=1"):
        status, headers, body = await answer_to(port, request(target))
        assert status == 200
        assert headers["connection"] == "close"
        assert int(headers["content-length"]) == len(body) > 0
        status, headers, nothing = await answer_to(port, request(target, "HEAD"))
        assert (status, nothing) == (200, b"")
        # The figures of the metrics change meanwhile.
        assert target == "/metrics" or headers["content-length"] == str(len(body))
    assert (await answer_to(port, request("/healthz", version="1.0")))[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/nowhere"), 404),
        (request("/metrics/"), 404),
        (request("/metrics", "POST"), 405),
        (request("/healthz", "DELETE"), 405),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
        (b"*1\r\n$4\r\nPING\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEADER_BYTES, 431),
        (b"GET /" + b"x" * 3 * HEADER_BYTES, 431),
    ],
)
async def test_what_is_no_request_is_told_and_others_go_on(port: int, data: bytes, status: int) -> None:
    assert (await answer_to(port, data))[0] == status
    assert (await answer_to(port, request("/healthz")))[0] == 200


async def test_method_that_is_not_allowed_is_told_which_are(port: int) -> None:
    _, headers, _ = await answer_to(port, request("/metrics", "PUT"))
    assert headers["allow"] == "GET, HEAD"


async def test_body_that_nobody_wants_does_not_cost_the_client_its_answer(port: int) -> None:
    data = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await asyncio.wait_for(writer.drain(), 10)
    assert (await ended(reader)).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    await closed(writer)


async def test_random_bytes_end_in_an_answer_or_a_close(port: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    pieces = [
        b"GET ",
        b"POST ",
        b"/metrics",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"Host: x",
        b"Transfer-Encoding: chunked",
        b"\0",
        b": ",
    ]
    for _ in range(100):
        data = b"".join(chance.choice([*pieces, chance.randbytes(chance.randrange(40))]) for _ in range(chance.randrange(12)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        said = await ended(reader)
        assert said == b"" or said.startswith(b"HTTP/1.1 "), data
        await closed(writer)
    assert (await answer_to(port, request("/healthz")))[0] == 200


# --- who is slow


async def test_crowd_that_says_nothing_keeps_nobody_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # None of them is too slow.
    monkeypatch.setattr(http, "DEADLINE_S", 100)
    crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * MOST_CLIENTS)]
    for _, writer in crowd[::2]:
        writer.write(b"GET /metrics HTTP/1.1\r\nHo")
    for _ in range(5):
        assert (await answer_to(port, request("/metrics")))[0] == 200
    # Those who came first were sent away.
    assert {await ended(reader) for reader, _ in crowd[:MOST_CLIENTS]} == {b""}
    for _, writer in crowd:
        await closed(writer)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n", request("/metrics")])
async def test_client_that_takes_too_long_is_cut_off(port: int, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "DEADLINE_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    said = await ended(reader)
    assert said.startswith(b"HTTP/1.1 200 OK\r\n") == (data == request("/metrics"))
    # It never closes its own side. An abort resets the connection, so that what it sends now fails some time.
    await failing(writer)


async def test_endless_body_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LINGER_BYTES", 100_000)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("/metrics", "POST"))
    await failing(writer)


async def failing(writer: asyncio.StreamWriter) -> None:
    """Send until that fails, since the server has cut the connection off."""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
                await asyncio.sleep(0)
    await closed(writer)


async def test_close_sends_all_away(state: ServerState) -> None:
    state.config.http_port = AUTO_PORT
    http_port = HTTPPort(state)
    await http_port.open()
    clients = [await asyncio.open_connection("127.0.0.1", state.config.http_port) for _ in range(3)]
    assert (await answer_to(state.config.http_port, request("/healthz")))[0] == 200
    http_port.close()
    for reader, writer in clients:
        assert await ended(reader) == b""
        await closed(writer)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", state.config.http_port)


# --- is it ready?


async def test_ready_is_said_of_a_server_that_takes_writes(port: int, state: ServerState) -> None:
    assert (await answer_to(port, request("/readyz")))[2] == b"ok\n"
    state.persistence.loading = True
    state.persistence.load_done_bytes, state.persistence.load_total_bytes = 30, 120
    status, _, body = await answer_to(port, request("/readyz"))
    assert (status, body) == (503, b"loading: 25 %\n")
    assert (await answer_to(port, request("/healthz")))[0] == 200


def test_reasons_why_writes_are_refused_are_told(state: ServerState) -> None:
    assert why_not_ready(state) == ""
    state.journal.error = "No space left on device"
    assert why_not_ready(state) == "writes are refused: MISCONF Errors writing to the AOF file: No space left on device"
    state.journal.error = ""
    state.persistence.last_save_ok, state.persistence.last_save_error = False, "disk gone"
    assert why_not_ready(state).startswith("writes are refused: MISCONF Redis is configured to save RDB snapshots, but ")
    assert why_not_ready(state).endswith(" (disk gone)")
    state.config.stop_writes_on_bgsave_error = False
    assert why_not_ready(state) == ""
    state.persistence.last_save_ok = True


def test_memory_that_is_full_is_told_unless_keys_may_go(state: ServerState) -> None:
    state.config.maxmemory = 1
    state.memory.configure()
    assert why_not_ready(state).startswith("writes are refused: used memory is above maxmemory")
    state.config.maxmemory_policy = "allkeys-lru"
    assert why_not_ready(state) == ""


# --- a real server


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_server_tells_where_its_port_is_and_whether_it_takes_writes(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--http-port", "auto", "--bind", "127.0.0.1 -::1")
    line = server.wait_for_line("listening on ")
    assert line
    url = next(word.rstrip(",") for word in line.split() if word.startswith("http://127.0.0.1:"))
    assert get(f"{url}/healthz") == get(f"{url}/readyz") == (200, b"ok\n")
    assert server.once("CONFIG", "SET", "maxmemory", "1") == b"+OK\r\n"
    status, reason = get(f"{url}/readyz")
    assert status == 503
    assert b"maxmemory" in reason
    assert get(f"{url}/healthz")[0] == 200
    assert server.once("CONFIG", "SET", "http-port", "1").startswith(b"-ERR CONFIG SET failed")


def test_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert failed_start("--http-port", str(port), "--dir", str(tmp_path)) == (
            f"kvserver: cannot listen on 127.0.0.1:{port}: Address already in use; "
            "--http-port takes another port, --http-port auto any that is free"
        )


def test_port_without_an_address_is_told(tmp_path: Path) -> None:
    line = failed_start("--http-port", "auto", "--bind", "", "--unixsocket", str(tmp_path / "socket"), "--dir", str(tmp_path))
    assert line == "kvserver: nothing to listen on for http-port: bind is empty"


@pytest.mark.parametrize("missing", ["h11", "prometheus_client"])
def test_missing_extra_is_one_line_that_says_what_to_install(tmp_path: Path, missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from kvserver.cli.main import main; sys.exit(main())"
    options = ["-p", str(free_port()), "--dir", str(tmp_path / "data"), "--http-port", "auto"]
    done = subprocess.run(
        [sys.executable, "-c", program, *options], env=kvserver_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"kvserver: http-port needs {missing}: pip install 'kvserver[http]'\n")


def test_server_leaves_while_somebody_is_slow(tmp_path: Path) -> None:
    port = free_port()
    server = ServerProcess("kvserver", tmp_path / "data", "--http-port", str(port))
    with server, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /metrics")
        assert get(f"http://127.0.0.1:{port}/healthz")[0] == 200
        assert server.stop() == 0
