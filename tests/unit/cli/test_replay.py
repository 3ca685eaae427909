"""A replay to a server: what it says, and fails to say, becomes results and errors. (The vectors: wire/test_replay.)"""

from __future__ import annotations

import gc
import socket
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import ServerProcess, free_port, kvserver_command, kvserver_environment
from kvserver.cli.main import main
from kvserver.cli.replay import RespClient, replay
from kvserver.errors import KVServerError, ReplayError

DEADLINE_S = 10
FLUSH_MODE = b"*2\r\n$13\r\nshutdown-mode\r\n$5\r\nflush\r\n"


class Script:
    """A server that answers each read by the next of some bytes, then closes. `received` is what it read."""

    def __init__(self, listener: socket.socket, answers: list[bytes]) -> None:
        self.received: list[bytes] = []
        self._listener = listener
        self._answers = answers
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(DEADLINE_S)
            for answer in self._answers:
                self.received.append(connection.recv(1 << 16))
                connection.sendall(answer)


@contextmanager
def scripted(*answers: bytes, path: Path | None = None) -> Iterator[tuple[str, Script]]:
    family, address = (socket.AF_UNIX, str(path)) if path else (socket.AF_INET, ("127.0.0.1", 0))
    with socket.socket(family) as listener:
        listener.settimeout(DEADLINE_S)
        listener.bind(address)
        listener.listen()
        script = Script(listener, list(answers))
        url = f"unix://{path}" if path else f"redis://127.0.0.1:{listener.getsockname()[1]}"
        yield url, script
        script.thread.join(DEADLINE_S)


def test_operations_become_commands_and_replies_results() -> None:
    operations: list[Any] = [
        ["set", "é", {"a": 1}],
        ("get", "k"),
        ["get", "none"],
        ["shutdown"],
        ["restore"],
        ["restore"],
        ["crash"],
    ]
    answers = [FLUSH_MODE, b"+OK\r\n", b'$9\r\n{"a":1.0}\r\n', b"$-1\r\n", b":1\r\n", b":1\r\n", b":0\r\n", b"+OK\r\n"]
    with scripted(*answers) as (url, script):
        results = replay(operations, url)
    assert results == [None, {"a": 1.0}, None, True, True, False, None]
    assert [type(result) for result in results[3:6]] == [bool] * 3
    names = [data.split(b"\r\n")[2] for data in script.received]
    assert names == [b"CONFIG", b"JSON.SET", b"JSON.GET", b"JSON.GET", b"SHUTDOWN", b"RESTORE", b"RESTORE", b"DEBUG"]
    assert "é".encode() in script.received[1]


def test_booleans_and_nulls_of_resp3_are_the_same_results() -> None:
    mode = FLUSH_MODE.replace(b"*2", b"%1")
    with scripted(b"%1\r\n$5\r\nproto\r\n:3\r\n", mode, b"#t\r\n", b"#f\r\n", b"_\r\n") as (url, script):
        assert replay([["shutdown"], ["restore"], ["get", "k"]], url + "?protocol=3") == [True, False, None]
    assert b"HELLO" in script.received[0]


@pytest.mark.parametrize("answer", [FLUSH_MODE.replace(b"5\r\nflush", b"4\r\nexit"), b"*0\r\n", b"-NOPERM no\r\n", b"+OK\r\n"])
def test_server_that_a_shutdown_would_end_is_asked_and_nothing_else(answer: bytes) -> None:
    with scripted(answer, b"") as (url, script):
        with pytest.raises(ReplayError, match=r"nothing was run|NOPERM"):
            replay([["set", "k", 1], ["shutdown"]], url)
        script.thread.join(DEADLINE_S)
    assert [data.split(b"\r\n")[2] for data in script.received if data] == [b"CONFIG"]


def test_error_of_the_server_names_the_command() -> None:
    with scripted(b"-ERR no\r\n") as (url, _), pytest.raises(ReplayError, match=r"'JSON\.GET': ERR no"):
        replay([["get", "k"]], url)


def test_server_that_hangs_up_is_told() -> None:
    with scripted(b"") as (url, _), pytest.raises(ReplayError, match=r"closed the connection|no reply"):
        replay([["get", "k"]], url)


def test_answer_that_is_no_resp_is_told() -> None:
    with scripted(b"HTTP/1.1 400 Bad Request\r\n") as (url, _), pytest.raises(ReplayError, match=r"no reply to 'JSON\.GET'"):
        replay([["get", "k"]], url)


def test_password_of_the_url_is_sent_first() -> None:
    with scripted(b"+OK\r\n", b"$-1\r\n") as (url, script):
        replay([["get", "k"]], url.replace("redis://", "redis://:s%20x@"))
    assert b"AUTH" in script.received[0]
    assert b"s x" in script.received[0]


def test_unix_socket_is_reached(tmp_path: Path) -> None:
    with scripted(b"$-1\r\n", path=tmp_path / "socket") as (url, _):
        assert replay([["get", "k"]], url) == [None]


@pytest.mark.parametrize("operation", [["del", "k"], ["set", "k"], ["get"], [], ["crash", 1]])
def test_unknown_operation_is_named(operation: list[Any]) -> None:
    with scripted() as (url, _), pytest.raises(ValueError, match="unknown operation") as raised:
        replay([operation], url)
    assert repr(operation) in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "", "unix:///none/such", "redis://127.0.0.1:PORT"])
def test_server_that_cannot_be_reached_is_one_line_that_names_the_url(url: str) -> None:
    url = url.replace("PORT", str(free_port()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(KVServerError) as raised:
            RespClient(url)
        message = str(raised.value)
        del raised
        gc.collect()
    assert url in message
    assert "\n" not in message
    assert not caught, "a socket is left open"


@pytest.mark.parametrize("content", ["5", "[5]", '{"x": []}', '{"operations": 1}', '"text"', "null"])
def test_file_that_holds_no_list_of_operations_is_told_what_one_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "operations.json"
    path.write_text(content)
    assert main(["replay", str(path)]) == 1
    assert (
        capsys.readouterr().err
        == f'kvserver: {path}: a list of operations is needed, such as [["set", "a", 1], ["get", "a"]]\n'
    )


@pytest.mark.parametrize("url", ["redis://localhost:port", "redis://localhost?protocol=x", "http://localhost", "redis://[::1"])
def test_wrong_url_is_told_as_that(tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    path = tmp_path / "operations.json"
    path.write_text("[]")
    assert main(["replay", str(path), "--url", url]) == 1
    assert capsys.readouterr().err == f"kvserver: {url!r} is no redis:// or unix:// URL\n"


def test_server_that_a_shutdown_would_end_is_left_as_it_is(kvserver: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "operations.json"
    file.write_text('[["set", "k", 1], ["shutdown"]]')
    done = subprocess.run(
        kvserver_command("replay", str(file), "--url", f"redis://127.0.0.1:{kvserver.port}"),
        capture_output=True,
        text=True,
        env=kvserver_environment(),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "kvserver: nothing was run: a shutdown would end this server, since its shutdown-mode is not flush"
    ]
    assert kvserver.once("GET", "k") == b"$-1\r\n"
