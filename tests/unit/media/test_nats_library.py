"""A login that is to go over TLS never goes without."""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import pytest
from nats.errors import Error

from helpers.certificates import Certificates
from helpers.nats_servers import NatsServers, until
from kvserver.errors import MediumError
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_library import subject_denied
from kvserver.media.nats_url import Login

LOGIN = Login("me", "hidden", is_tls=True)
PLAIN = {"version": "2.15.1", "max_payload": 1 << 20, "jetstream": True, "auth_required": True}


class Listener:
    """A port of somebody who greets in plain text, as a nats-server without TLS, and keeps what comes."""

    def __init__(self, port: int = 0, greeting: Mapping[str, object] = MappingProxyType({})) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self._greeting = b"INFO " + json.dumps({**PLAIN, **greeting}).encode() + b"\r\n"
        self.port = self._listening.getsockname()[1]
        self.received = b""
        self.ended = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, suppress(ConnectionError):
                    connection.sendall(self._greeting)
                    while received := connection.recv(4096):
                        self.received += received
                        connection.sendall(b"PONG\r\n" * received.count(b"PING"))
                self.ended += 1

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()


@pytest.fixture
def client_of() -> Iterator[list[NatsClient]]:
    """The clients to be closed behind the test."""
    clients: list[NatsClient] = []
    yield clients
    for client in clients:
        client.close()


@pytest.mark.parametrize("greeting", [{}, {"tls_available": True}], ids=["no TLS", "TLS as you like"])
def test_nothing_is_sent_to_a_server_without_tls(client_of: list[NatsClient], greeting: dict[str, object]) -> None:
    listener = Listener(greeting=greeting)
    client_of.append(NatsClient([f"127.0.0.1:{listener.port}"], LOGIN))
    with pytest.raises(MediumError, match="the server does not ask for TLS, and tls:// sends no login without"):
        client_of[0].open()
    until("the connection has ended", lambda: listener.ended > 0)
    listener.close()
    assert listener.received == b""


def test_real_server_without_tls_is_refused(nats_node: NatsServers, client_of: list[NatsClient]) -> None:
    client_of.append(NatsClient(nats_node.hosts().split(","), LOGIN))
    with pytest.raises(MediumError, match="the server does not ask for TLS"):
        client_of[0].open()


def test_nothing_is_sent_when_a_server_has_no_tls_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client_of: list[NatsClient]
) -> None:
    certificates = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certificates.path("authority.crt"))
    login = LOGIN._replace(password=secrets.token_hex(4))
    settings = (
        f'tls {{ cert_file: "{certificates.path("server.crt")}", key_file: "{certificates.path("server.key")}" }}\n'
        f'authorization {{ user: me, password: "{login.password}" }}'
    )
    with NatsServers(tmp_path / "server", settings=settings) as servers:
        client_of.append(NatsClient(servers.hosts().split(","), login))
        client_of[0].open()
        servers.nodes[0].kill()
        listener = Listener(servers.nodes[0].port)
        # Each of the attempts to come back ends without a word.
        until("it has tried to come back", lambda: listener.ended > 2)
        listener.close()
        assert listener.received == b""


@pytest.mark.parametrize(
    ("told", "subject"),
    [
        ('nats: permissions violation for publish to "$js.api.info"', "$js.api.info"),
        ('nats: permissions violation for subscription to "_inbox.x.*"', "_inbox.x.*"),
        ("nats: maximum payload violation", ""),
    ],
)
def test_subject_that_a_user_may_not_use(told: str, subject: str) -> None:
    assert subject_denied(Error(told)) == subject
