"""redis-py of several versions, redis-cli and redis-benchmark work unmodified."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from clients.client_cache_session import cache_session
from clients.redis_py_session import async_session, sync_session
from clients.redis_py_types_session import types_session
from helpers.installs import Installs, run
from helpers.servers import ServerProcess, encode, kvserver_environment, need_program

OLD_REDIS_PY = "redis>=5,<6"


def redis_cli(server: ServerProcess, *arguments: str, stdin: bytes | None = None) -> str:
    return run(need_program("redis-cli"), "-p", str(server.port), *arguments, stdin=stdin)


@pytest.mark.parametrize("protocol", [2, 3])
def test_newest_redis_py_works(kvserver: ServerProcess, protocol: int) -> None:
    sync_session(kvserver.port, protocol)


@pytest.mark.parametrize("protocol", [2, 3])
def test_newest_redis_py_uses_all_types(kvserver: ServerProcess, protocol: int) -> None:
    types_session(kvserver.port, protocol)


@pytest.mark.parametrize("protocol", [2, 3])
def test_newest_redis_py_works_in_asyncio(kvserver: ServerProcess, protocol: int) -> None:
    asyncio.run(async_session(kvserver.port, protocol), debug=True)


def test_newest_redis_py_keeps_what_it_reads_until_another_client_changes_it(kvserver: ServerProcess) -> None:
    cache_session(kvserver.port)


def test_newest_redis_py_works_with_nothing_configured(kvserver: ServerProcess) -> None:
    with redis.Redis(port=kvserver.port) as client:
        assert client.set("key", "value")
        assert client.get("key") == b"value"
    with redis.Redis.from_url(f"redis://127.0.0.1:{kvserver.port}/0?decode_responses=true") as client:
        assert client.get("key") == "value"


@pytest.mark.parametrize("name", ["redis_py_session", "redis_py_types_session"])
def test_redis_py_5_works(kvserver: ServerProcess, installs: Installs, name: str) -> None:
    folder = installs.python(OLD_REDIS_PY)
    program = Path(__file__).with_name(f"{name}.py")
    environment = kvserver_environment() | {"PYTHONPATH": str(folder)}
    version = run(sys.executable, "-W", "error", program, str(kvserver.port), environment=environment)
    # asyncio's debug mode may complain of a slow machine before this line.
    assert version.splitlines()[-1].startswith("5.")


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


def test_redis_cli_is_used_on_a_terminal(kvserver: ServerProcess) -> None:
    """With its prompt, its hints (from COMMAND DOCS) and its history, none of which there is without a terminal."""
    prompt = f"127.0.0.1:{kvserver.port}> "
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 120, 0, 0))
    environment = kvserver_environment() | {"TERM": "xterm", "HOME": "/nonexistent"}
    command = [need_program("redis-cli"), "-p", str(kvserver.port)]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)

    def read_until(*texts: str) -> None:
        """Until these have come, one behind the other. What is typed before the prompt is there is lost."""
        wanted, seen = re.compile(".*".join(map(re.escape, texts)), re.DOTALL), ""
        while not wanted.search(seen):
            assert select.select([leader], [], [], 20)[0], f"no {texts} in {seen!r}"
            seen += os.read(leader, 1 << 16).decode()

    try:
        read_until(prompt)
        for typed, shown in (
            ("SET name 'Ada Lovelace'", "OK"),
            ("GET name", '"Ada Lovelace"'),
            ("GET missing", "(nil)"),
            ("INCR counter", "(integer) 1"),
            ("MGET name missing", "2) (nil)"),
            ("NOSUCH", "(error) ERR unknown command 'NOSUCH'"),
        ):
            os.write(leader, f"{typed}\r".encode())
            read_until(shown, prompt)
        os.write(leader, b"SET k ")
        # redis-cli shows a hint of the arguments of SET. Ctrl-U then clears the line.
        read_until("value")
        os.write(leader, b"\x15exit\r")
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def fill_with_every_type(server: ServerProcess) -> None:
    with server.connect() as wire:
        for number in range(300):
            wire.command("SET", f"key:{number}", "x" * number)
        wire.command("SET", "key:large", "x" * 5000)
        for name, length in (("small", 3), ("large", 700)):
            members = [f"member:{number}" for number in range(length)]
            wire.command("RPUSH", f"list:{name}", *members)
            wire.command("SADD", f"set:{name}", *members)
            wire.command("HSET", f"hash:{name}", *(part for each in members for part in (each, "value")))
            wire.command("ZADD", f"zset:{name}", *(part for number, each in enumerate(members) for part in (number, each)))


def summary(output: str) -> list[str]:
    """What redis-cli tells at the end of a scan. Before that, it tells what it meets, in the order of the keys."""
    return output.partition("-------- summary -------")[2].splitlines()


def test_redis_cli_finds_the_big_keys_that_it_finds_in_redis_server(
    kvserver: ServerProcess, redis_oracle: ServerProcess
) -> None:
    for server in (kvserver, redis_oracle):
        fill_with_every_type(server)
    ours, theirs = (summary(redis_cli(server, "--bigkeys", "-i", "0")) for server in (kvserver, redis_oracle))
    assert ours == theirs
    assert """Biggest string found '"key:large"' has 5000 bytes""" in ours
    assert """Biggest   zset found '"zset:large"' has 700 members""" in ours
    # What a key takes is another number there.
    figures = re.compile(r"\d+(\.\d+)?(?= bytes| members|\))")
    ours, theirs = (
        [figures.sub("…", line) for line in summary(redis_cli(server, "--memkeys", "-i", "0"))]
        for server in (kvserver, redis_oracle)
    )
    assert ours == theirs
    assert """Biggest   hash found '"hash:large"' has … bytes""" in ours


def test_redis_cli_finds_hot_keys(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "lfu-log-factor", "0")
        wire.command("RPUSH", "cold", "a")
        wire.command("RPUSH", "hot", "a")
        for _ in range(10):
            wire.command("LRANGE", "hot", 0, -1)
        hot = redis_cli(kvserver, "--hotkeys", "-i", "0")
        wire.command("CONFIG", "SET", "maxmemory-policy", "noeviction", "lfu-log-factor", "10")
    found = re.findall(r'hot key found with counter: (\d+)\tkeyname: "(\w+)"', hot)
    assert [name for _, name in found] == ["hot", "cold"], hot
    assert int(found[0][0]) > int(found[1][0])


def test_redis_cli_scans(kvserver: ServerProcess) -> None:
    fill_with_every_type(kvserver)
    assert sorted(redis_cli(kvserver, "--scan", "--pattern", "key:*9").split()) == sorted(
        f"key:{n}" for n in range(9, 300, 10)
    )
    assert redis_cli(kvserver, "--scan", "--pattern", "z?et:small") == "zset:small\n"
    assert len(redis_cli(kvserver, "--scan").split()) == 309


def test_redis_cli_shows_statistics_as_they_change(kvserver: ServerProcess) -> None:
    command = [need_program("redis-cli"), "-p", str(kvserver.port), "--stat", "-i", "0.1"]
    kvserver.once("SET", "k", "v")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(5)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert lines[1].split()[:3] == ["keys", "mem", "clients"]
    keys, memory, clients, blocked, requests = lines[4].split()[:5]
    assert (keys, blocked) == ("1", "0")
    assert memory[-1] in "KMG"
    assert int(clients) >= 1
    assert int(requests) >= 1


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
        ("-P", "1", "-n", "3000"),
        ("-P", "64", "-n", "20000"),
        ("-P", "64", "-n", "20000", "-3"),
        ("-P", "16", "-n", "5000", "-d", "1000", "-r", "1000", "--threads", "2"),
    ],
    ids=["plain", "pipelined", "resp3", "threads"],
)
def test_redis_benchmark_runs_without_an_error(kvserver: ServerProcess, options: tuple[str, ...]) -> None:
    program = need_program("redis-benchmark")
    output = run(program, "-p", str(kvserver.port), "-t", "ping,set,get,incr,mset", "-q", *options)
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", r"MSET \(10 keys\)"):
        assert re.search(rf"{name}: [0-9.]+ requests per second", output), output
    assert not [word for word in ("ERR", "Error", "WARNING") if word in output], output
