"""The clients that people use, unmodified: redis-py new and old, redis-cli, redis-benchmark."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_py_session import async_session, sync_session
from servers import ServerProcess, encode, kvserver_environment, need_program

OLD_REDIS_PY = "redis>=5,<6"
COMMAND_TIMEOUT_S = 60


def run(*command: str | Path, stdin: bytes | None = None) -> str:
    """Standard output and error of a program that must succeed."""
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    output = done.stdout.decode(errors="backslashreplace")
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{output}"
    return output


def redis_cli(server: ServerProcess, *arguments: str, stdin: bytes | None = None) -> str:
    return run(need_program("redis-cli"), "-p", str(server.port), *arguments, stdin=stdin)


@pytest.mark.parametrize("protocol", [2, 3])
def test_newest_redis_py_works(kvserver: ServerProcess, protocol: int) -> None:
    sync_session(kvserver.port, protocol)


@pytest.mark.parametrize("protocol", [2, 3])
def test_newest_redis_py_works_in_asyncio(kvserver: ServerProcess, protocol: int) -> None:
    asyncio.run(async_session(kvserver.port, protocol), debug=True)


def test_newest_redis_py_works_with_nothing_configured(kvserver: ServerProcess) -> None:
    with redis.Redis(port=kvserver.port) as client:
        assert client.set("key", "value")
        assert client.get("key") == b"value"
    with redis.Redis.from_url(f"redis://127.0.0.1:{kvserver.port}/0?decode_responses=true") as client:
        assert client.get("key") == "value"


@pytest.fixture(scope="session")
def old_redis_py(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with redis-py 5, installed once and kept where pytest keeps its cache."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    folder = cache.mkdir("redis-py-5") if cache is not None else tmp_path_factory.mktemp("redis-py-5")
    if not list(folder.glob("redis-5*.dist-info")):
        run(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", folder, OLD_REDIS_PY)
    return folder


def test_redis_py_5_works(kvserver: ServerProcess, old_redis_py: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            str(Path(__file__).with_name("redis_py_session.py")),
            str(kvserver.port),
        ],
        env=kvserver_environment() | {"PYTHONPATH": str(old_redis_py)},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5.")


def test_redis_py_meets_shutdown_as_it_expects(tmp_path: Path) -> None:
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        # No retries: redis-py takes a closed connection for success, but tries again for seconds first.
        with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
            client.set("key", "value")
            assert client.shutdown() is None
        assert server.wait() == 0
    with ServerProcess("kvserver", tmp_path, "--save", "") as server, redis.Redis(port=server.port) as client:
        assert client.get("key") == b"value"


def test_redis_cli_sets_gets_and_shows_errors(kvserver: ServerProcess) -> None:
    assert redis_cli(kvserver, "PING") == "PONG\n"
    assert redis_cli(kvserver, "SET", "key", "a value") == "OK\n"
    assert redis_cli(kvserver, "GET", "key") == "a value\n"
    assert redis_cli(kvserver, "-3", "GET", "key") == "a value\n"
    assert redis_cli(kvserver, "--no-raw", "GET", "missing") == "(nil)\n"
    assert redis_cli(kvserver, "--no-raw", "-3", "HELLO").startswith('1# "server" => ')
    assert redis_cli(kvserver, "-x", "SET", "piped", stdin=b"from stdin") == "OK\n"
    assert redis_cli(kvserver, "GET", "piped") == "from stdin\n"
    assert "ERR unknown command 'NOSUCH'" in redis_cli(kvserver, "NOSUCH")
    assert redis_cli(kvserver, "-n", "0", "DBSIZE") == "2\n"
    assert redis_cli(kvserver, stdin=b"PING\nSET typed 'two words'\nGET typed\n") == "PONG\nOK\ntwo words\n"


def test_redis_cli_shows_info_and_statistics(kvserver: ServerProcess) -> None:
    info = redis_cli(kvserver, "INFO")
    assert f"tcp_port:{kvserver.port}" in info
    assert "redis_version:" in info
    assert redis_cli(kvserver, "-r", "3", "PING") == "PONG\n" * 3


def test_redis_cli_pipe_loads_a_file_of_requests(kvserver: ServerProcess) -> None:
    count = 20_000
    requests = b"".join(encode("SET", f"key:{index}", f"value {index}") for index in range(count))
    assert f"errors: 0, replies: {count}" in redis_cli(kvserver, "--pipe", stdin=requests)
    assert kvserver.once("DBSIZE") == b":%d\r\n" % count


def test_redis_cli_shuts_down_and_saves(tmp_path: Path) -> None:
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        redis_cli(server, "SET", "key", "value")
        assert redis_cli(server, "SHUTDOWN").strip() == ""
        assert server.wait() == 0
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        assert redis_cli(server, "GET", "key") == "value\n"


@pytest.mark.parametrize(
    "options",
    [
        ("-P", "1", "-n", "5000"),
        ("-P", "64", "-n", "50000"),
        ("-P", "64", "-n", "50000", "-3"),
        ("-P", "16", "-n", "20000", "-d", "1000", "-r", "1000", "--threads", "2"),
    ],
    ids=["plain", "pipelined", "resp3", "threads"],
)
def test_redis_benchmark_runs_without_an_error(kvserver: ServerProcess, options: tuple[str, ...]) -> None:
    program = need_program("redis-benchmark")
    output = run(program, "-p", str(kvserver.port), "-t", "ping,set,get", "-q", *options)
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET"):
        assert re.search(rf"{name}: [0-9.]+ requests per second", output), output
    assert not [word for word in ("ERR", "Error", "WARNING") if word in output], output
