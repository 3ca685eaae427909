"""Object stores that speak S3, for tests: moto's, in a process of its own, and one whose faults a test chooses."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from helpers.servers import PROJECT, free_port

# moto believes everybody. obstore asks for these before it sends anything.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
# Far longer than it takes.
START_S = 60.0


class S3Server:
    """A store at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"

    def make_bucket(self, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("PUT", f"/{name}")
        response = connection.getresponse()
        assert response.status == 200, response.read()
        connection.close()

    def url(self, path: str) -> str:
        return f"s3://{path}?endpoint={self.endpoint}&region=us-east-1"


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """moto's server, until the end of the block."""
    port = free_port()
    command = [sys.executable, str(PROJECT / "bench" / "object_store.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S
            while not _listens(port):
                assert process.poll() is None, "moto has ended"
                assert time.monotonic() < deadline, "moto does not start"
                time.sleep(0.02)
            yield S3Server(port)
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Fault:
    """An answer in the place of the right one.

    - `status` and `code` are answered; status 0: the connection breaks without an answer.
    - `has_effect`: the request is done before.
    - `delay_s`: the answer comes after so many seconds.
    """

    def __init__(self, status: int = 0, code: str = "", *, has_effect: bool = False, delay_s: float = 0.0) -> None:
        self.status, self.code, self.has_effect, self.delay_s = status, code, has_effect, delay_s


class FakeS3:
    """A store in memory, with one bucket, that knows single objects, and the removal of many. A test may set at any time:

    - `fault_of` gives the fault of a request, by its method and the path of its object.
    - `ignored` are the conditions that it does not look at: If-None-Match, If-Match.
    - `racy` are the conditions of which two at the same time both hold.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.fault_of: Callable[[str, str], Fault | None] = lambda method, path: None
        self.ignored: set[str] = set()
        self.racy: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.second = threading.Condition(self.lock)
        # How many requests are between the look at a condition and the put.
        self.racing: dict[tuple[str, str], int] = {}

    def put(self, path: str, data: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Put an object. The status, and the ETag or the code of the error."""
        with self.lock:
            there = self.objects.get(path)
            tag = _tag_of(there[0]) if there else None
            if "if-none-match" in headers and "If-None-Match" not in self.ignored:
                if there:
                    return 412, "PreconditionFailed"
                self._race(path, "If-None-Match")
            if "if-match" in headers and "If-Match" not in self.ignored:
                if headers["if-match"] != tag:
                    return 412, "PreconditionFailed"
                self._race(path, "If-Match")
            self.objects[path] = data, {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
            return 200, _tag_of(data)

    def _race(self, path: str, condition: str) -> None:
        """Wait between the look at a condition and the put, so that another request may look, too."""
        if condition in self.racy:
            self.racing[path, condition] = self.racing.get((path, condition), 0) + 1
            self.second.notify_all()
            self.second.wait_for(lambda: self.racing[path, condition] > 1, 1.0)


def _tag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FakeS3

    def _do(self) -> None:
        store, path = self.store, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with store.lock:
            store.requests.append((self.command, path))
        fault = store.fault_of(self.command, path)
        status, text, content, headers = 200, "", b"", dict[str, str]()
        if fault is None or fault.has_effect:
            status, text, content, headers = self._answer(path, body)
        if fault:
            time.sleep(fault.delay_s)
            if not fault.status and not fault.delay_s:
                self.close_connection = True
                return
            if fault.status:
                status, text = fault.status, fault.code
        if status >= 300:
            message = "Said by a test, with a line\nbreak."
            content = f"<?xml version='1.0'?>\n<Error><Code>{text}</Code><Message>{message}</Message></Error>".encode()
        elif text:
            headers["ETag"] = text
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 08:00:00 GMT")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer(self, path: str, body: bytes) -> tuple[int, str, bytes, dict[str, str]]:
        store = self.store
        if self.command == "PUT":
            return *store.put(path, body, {name.lower(): value for name, value in self.headers.items()}), b"", {}
        if self.command == "POST":
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            with store.lock:
                for key in keys:
                    store.objects.pop(f"{path.rstrip('/')}/{key}", None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return 200, "", f"<?xml version='1.0'?>\n<DeleteResult>{deleted}</DeleteResult>".encode(), {}
        found = store.objects.get(path)
        if found is None:
            return 404, "NoSuchKey", b"", {}
        return 200, _tag_of(found[0]), found[0], dict(found[1])

    do_GET = do_PUT = do_POST = do_HEAD = _do  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def fake_store() -> Iterator[tuple[S3Server, FakeS3]]:
    """A store with faults, until the end of the block."""
    store = FakeS3()
    handler = type("Handler", (_Handler,), {"store": store})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield S3Server(server.server_address[1]), store
        finally:
            server.shutdown()
            thread.join()
