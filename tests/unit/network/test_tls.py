"""TLS works for clients of every kind; wrong certificates and clients that do wrong are refused, and hurt nobody."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import redis
import redis.asyncio

from helpers.certificates import PASSPHRASE, Certificates
from helpers.servers import (
    COMMON_OPTIONS,
    DEADLINE_S,
    ServerProcess,
    StartServer,
    Wire,
    encode,
    free_port,
    info,
    need_program,
    wait_until,
)
from helpers.starts import failed_start
from kvserver.errors import TLSError
from kvserver.network.tls import make_client_context, make_context
from kvserver.options.config import Config

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class TLSServer:
    """A running server, and the port on which it speaks TLS."""

    def __init__(self, server: ServerProcess, certificates: Certificates) -> None:
        self.server = server
        self.port = int(server.options[server.options.index("--tls-port") + 1])
        self.certificates = certificates

    def connect(self, context: ssl.SSLContext | None = None, source: str = "") -> Wire:
        raw = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S, (source, 0) if source else None)
        try:
            chosen = context or self.certificates.client_context()
            return Wire(self.port, connected=chosen.wrap_socket(raw, server_hostname="127.0.0.1"))
        except BaseException:
            raw.close()
            raise


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TLSServer]:
    """A server with a plain port and one for TLS, whose clients need a certificate."""
    options = (*COMMON_OPTIONS, "--tls-port", str(free_port()), *certificates.options())
    with ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *options) as server:
        yield TLSServer(server, certificates)


def start_tls(start_server: StartServer, certificates: Certificates, *options: str) -> TLSServer:
    chosen = (*COMMON_OPTIONS, "--tls-port", str(free_port()), *certificates.options(), *options)
    return TLSServer(start_server(*chosen), certificates)


# --- clients


def test_commands_and_big_values_pass_over_tls(tls: TLSServer) -> None:
    value = bytes(range(256)) * (3 * MEGABYTE // 256)
    with tls.connect() as wire:
        assert wire.command("PING") == b"+PONG\r\n"
        assert wire.command("SET", "big", value) == b"+OK\r\n"
        wire.send(encode("GET", "big") * 10 + encode("ECHO", "end"))
        for _ in range(10):
            assert wire.read_exactly(len(value) + 12) == b"$%d\r\n%b\r\n" % (len(value), value)
        assert wire.read_reply() == b"$3\r\nend\r\n"
        wire.send(b"".join(encode("ECHO", number) for number in range(10_000)))
        assert [wire.read_reply() for _ in range(10_000)] == [b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(10_000)]
    assert tls.server.once("EXISTS", "big") == b":1\r\n", "the plain port serves the same data"


def test_request_byte_by_byte_and_in_one_read_with_the_handshake_is_served(tls: TLSServer) -> None:
    with tls.connect() as wire:
        for byte in encode("SET", "k", "v") + b"GET k\r\n":
            wire.send(bytes([byte]))
        assert [wire.read_reply(), wire.read_reply()] == [b"+OK\r\n", b"$1\r\nv\r\n"]


def test_quit_behind_a_big_reply_lets_it_arrive(tls: TLSServer) -> None:
    with tls.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        wire.send(encode("GET", "k") * 8 + encode("QUIT"))
        assert wire.read_until_eof() == b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE) * 8 + b"+OK\r\n"


def test_redis_py_works_over_tls(tls: TLSServer) -> None:
    certificates = tls.certificates
    options: dict[str, Any] = {
        "port": tls.port,
        "host": "localhost",
        "ssl": True,
        "ssl_ca_certs": certificates.path("authority.crt"),
        "ssl_certfile": certificates.path("client.crt"),
        "ssl_keyfile": certificates.path("client.key"),
    }
    with redis.Redis(**options) as client:
        assert client.set("key", "value")
        assert client.get("key") == b"value"
        with client.pipeline() as pipeline:
            for number in range(1000):
                pipeline.set(f"key:{number}", number)
            assert pipeline.execute() == [True] * 1000

    async def use() -> None:
        async with redis.asyncio.Redis(**options) as client:
            assert await client.get("key") == b"value"

    asyncio.run(use())


def test_redis_cli_works_over_tls(tls: TLSServer) -> None:
    program = need_program("redis-cli")
    if "--tls" not in subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("this redis-cli was built without TLS")
    path = tls.certificates.path
    files = ["--cacert", path("authority.crt"), "--cert", path("client.crt"), "--key", path("client.key")]
    done = subprocess.run(
        [program, "-p", str(tls.port), "--tls", *files, "ECHO", "hello"], capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr


def test_port_0_leaves_only_tls(start_server: StartServer, certificates: Certificates) -> None:
    server = start_tls(start_server, certificates, "--port", "0")
    with server.connect() as wire:
        assert wire.command("PING") == b"+PONG\r\n"
    with pytest.raises(ConnectionRefusedError):
        server.server.connect()
    (line,) = [line for line in server.server.log_text().splitlines() if "Ready" in line]
    assert line.endswith(f"Ready to accept connections on rediss://127.0.0.1:{server.port}")


def test_unread_replies_over_tls_are_bounded_and_a_reader_gets_all(tls: TLSServer) -> None:
    count, value = 60, b"x" * MEGABYTE
    reply = b"$%d\r\n%s\r\n" % (len(value), value)
    with tls.connect() as slow, tls.server.connect() as other:
        slow.command("SET", "k", value)
        peak = tls.server.memory_bytes("VmHWM")
        slow.send(encode("GET", "k") * count)
        for _ in range(500):
            assert other.command("PING") == b"+PONG\r\n"
        assert tls.server.memory_bytes("VmHWM") < peak + 24 * MEGABYTE
        for _ in range(count):
            assert slow.read_exactly(len(reply)) == reply


# --- who may connect


def outcome(server: TLSServer, context: ssl.SSLContext) -> str:
    """The reply to a client's PING, or `refused`, which a client of TLSv1.3 learns only by its first read."""
    try:
        with server.connect(context) as wire:
            return wire.command("PING").decode().strip()
    except (ssl.SSLError, ConnectionError, EOFError):
        return "refused"


@pytest.mark.parametrize(
    ("required", "certificate", "expected"),
    [
        ("yes", "client", "+PONG"),
        ("yes", None, "refused"),
        ("yes", "stranger", "refused"),
        ("optional", "client", "+PONG"),
        ("optional", None, "+PONG"),
        ("optional", "stranger", "refused"),
        ("no", None, "+PONG"),
        ("no", "stranger", "+PONG"),
    ],
)
def test_certificates_of_clients_are_asked_for_as_in_redis(
    start_server: StartServer, certificates: Certificates, required: str, certificate: str | None, expected: str
) -> None:
    options = ("--tls-auth-clients", required)
    ours = start_tls(start_server, certificates, *options)
    chosen = (*COMMON_OPTIONS, "--tls-port", str(free_port()), *certificates.options(), *options)
    theirs = TLSServer(start_server(*chosen, kind="redis-server"), certificates)
    for server in (ours, theirs):
        assert outcome(server, certificates.client_context(certificate)) == expected


@pytest.mark.parametrize(("allowed", "version"), [("TLSv1.3", ssl.TLSVersion.TLSv1_2), ("TLSv1.2", ssl.TLSVersion.TLSv1_3)])
def test_protocol_that_is_not_allowed_is_refused(
    start_server: StartServer, certificates: Certificates, allowed: str, version: ssl.TLSVersion
) -> None:
    server = start_tls(start_server, certificates, "--tls-protocols", allowed)
    context = certificates.client_context()
    assert outcome(server, context) == "+PONG"
    context.minimum_version = context.maximum_version = version
    assert outcome(server, context) == "refused"


def test_ciphers_are_those_of_the_option(start_server: StartServer, certificates: Certificates) -> None:
    chosen = "ECDHE-ECDSA-CHACHA20-POLY1305"
    server = start_tls(start_server, certificates, "--tls-protocols", "TLSv1.2", "--tls-ciphers", chosen)
    with server.connect() as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert (wire.socket.cipher() or ("",))[0] == chosen


def test_protected_mode_holds_over_tls(tls: TLSServer) -> None:
    with tls.connect(source="127.0.0.2") as wire:
        assert wire.read_until_eof().startswith(b"-DENIED ")


# --- certificates at run time


def serial_of(server: TLSServer) -> str:
    with server.connect() as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        return str((wire.socket.getpeercert() or {})["serialNumber"])


def test_new_certificate_is_used_for_new_clients_and_a_bad_one_for_none(
    start_server: StartServer, certificates: Certificates
) -> None:
    server = start_tls(start_server, certificates, "--enable-protected-configs", "local")
    names = ("tls-cert-file", "tls-key-file")
    with server.connect() as before, server.server.connect() as plain:
        first = serial_of(server)
        second = [certificates.path("second-server.crt"), certificates.path("second-server.key")]
        assert plain.command("CONFIG", "SET", names[0], second[0], names[1], second[1]) == b"+OK\r\n"
        assert serial_of(server) != first
        assert before.command("PING") == b"+PONG\r\n"
        changed = serial_of(server)
        refused = plain.command("CONFIG", "SET", "timeout", "7", "tls-key-file", certificates.path("client.key"))
        assert refused == (
            b"-ERR CONFIG SET failed (possibly related to argument 'tls-key-file') - "
            b"Unable to update TLS configuration. Check server logs.\r\n"
        )
        assert server.server.wait_for_line("they don't belong together")
        assert plain.value("CONFIG", "GET", "tls-key-file")[1] == second[1].encode()
        assert plain.value("CONFIG", "GET", "timeout")[1] == b"0"
        assert serial_of(server) == changed


# --- a start that must not succeed


def test_wrong_options_are_told_in_one_line(certificates: Certificates) -> None:
    path = certificates.path
    port = ("--tls-port", str(free_port()))
    cert, key, authority = (
        ("--tls-cert-file", path("server.crt")),
        ("--tls-key-file", path("server.key")),
        ("--tls-ca-cert-file", path("authority.crt")),
    )
    locked = ("--tls-key-file", path("locked-server.key"))
    cases: list[tuple[tuple[str, ...], str]] = [
        ((*port,), "TLS needs tls-cert-file"),
        ((*port, *cert), "TLS needs tls-key-file"),
        ((*port, *cert, *key), "tls-auth-clients needs tls-ca-cert-file or tls-ca-cert-dir"),
        ((*port, "--tls-cert-file", path("nosuch"), *key), "nosuch can't be read: No such file or directory"),
        ((*port, *cert, "--tls-key-file", path("client.key"), *authority), "they don't belong together"),
        ((*port, *cert, "--tls-key-file", path("extensions.cnf"), *authority), "not PEM, or tls-key-file-pass is wrong"),
        ((*port, *cert, *locked, *authority), "not PEM, or tls-key-file-pass is wrong"),
        ((*port, *cert, *locked, *authority, "--tls-key-file-pass", "guessed"), "not PEM, or tls-key-file-pass is wrong"),
        ((*port, *cert, *key, "--tls-ca-cert-file", path("server.key")), "it has no certificate"),
        ((*port, *cert, *key, "--tls-ca-cert-file", certificates.path("")), "can't be read: Is a directory"),
        ((*port, *cert, *key, "--tls-ca-cert-dir", path("server.crt")), "is no directory"),
        ((*port, *cert, *key, *authority, "--tls-ciphers", "NOSUCH"), "names no cipher that can be used"),
    ]
    for options, reason in cases:
        config = Config()
        for name, value in zip(options[::2], options[1::2], strict=True):
            setattr(config, name[2:].replace("-", "_"), value.encode() if name.endswith("-pass") else value)
        with pytest.raises(TLSError) as caught:
            make_context(config)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "guessed" not in str(caught.value)


def test_start_without_a_certificate_fails_in_one_line() -> None:
    assert failed_start("--tls-port", str(free_port())) == "kvserver: TLS needs tls-cert-file"


def test_taken_tls_port_fails_in_one_line(tls: TLSServer) -> None:
    line = failed_start("--tls-port", str(tls.port), *tls.certificates.options())
    told, _, remedy = line.partition("; ")
    assert told == f"kvserver: cannot listen on 127.0.0.1:{tls.port}: Address already in use"
    assert remedy == "--tls-port takes another port, --tls-port auto any that is free"


def test_key_with_a_passphrase_is_read_and_the_passphrase_is_told_to_nobody(
    start_server: StartServer, certificates: Certificates
) -> None:
    locked = ("--tls-key-file", certificates.path("locked-server.key"), "--tls-key-file-pass", PASSPHRASE)
    server = start_tls(start_server, certificates, *locked, "--loglevel", "debug")
    assert outcome(server, certificates.client_context()) == "+PONG"
    assert PASSPHRASE not in server.server.log_text()


# --- clients that do wrong


def test_what_is_no_tls_hurts_nobody_else(tls: TLSServer, certificates: Certificates) -> None:
    with tls.connect() as witness, tls.server.connect() as plain:
        for sent in (encode("PING"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 20_000, b""):
            for is_reset in (False, True):
                with Wire(tls.port) as wire:
                    wire.send(sent)
                    if is_reset:
                        wire.reset()
                    elif sent[:3] != b"\x16\x03\x01" and sent:
                        assert b"+PONG" not in wire.read_until_eof()
                assert witness.command("PING") == b"+PONG\r\n"
        # Each cut is in the middle of the client's first message.
        for cut in (10, 100, 300):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            shaking = certificates.client_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            with suppress(ssl.SSLWantReadError):
                shaking.do_handshake()
            with Wire(tls.port) as wire:
                wire.send(outgoing.read()[:cut])
            assert witness.command("PING") == b"+PONG\r\n"
        assert outcome(tls, certificates.client_context("stranger")) == "refused"
        wait_until(lambda: len(plain.value("CLIENT", "LIST").splitlines()) == 2, "those clients are forgotten")
    tls.server.check_log()


def test_plain_bytes_behind_the_handshake_close_only_that_client(tls: TLSServer) -> None:
    with tls.connect() as witness:
        wire = tls.connect()
        assert wire.command("PING") == b"+PONG\r\n"
        with socket.socket(fileno=wire.socket.detach()) as raw:
            raw.settimeout(DEADLINE_S)
            raw.sendall(encode("PING") * 100)
            with suppress(ConnectionError):
                while raw.recv(1 << 16):
                    pass
        assert witness.command("PING") == b"+PONG\r\n"
    tls.server.check_log()


def test_handshakes_that_never_end_take_places_of_clients_only(start_server: StartServer, certificates: Certificates) -> None:
    server = start_tls(start_server, certificates, "--maxclients", "5")
    with ExitStack() as stack:
        plain = stack.enter_context(server.server.connect())
        assert plain.command("PING") == b"+PONG\r\n"
        silent = [stack.enter_context(Wire(server.port)) for _ in range(4)]

        def is_full() -> bool:
            with server.server.connect() as wire:
                wire.send(encode("PING"))
                return wire.read_reply() == b"-ERR max number of clients reached\r\n"

        wait_until(is_full, "handshakes count as clients")
        with Wire(server.port) as wire:
            assert wire.read_until_eof() == b""
        for wire in silent:
            wire.close()
        wait_until(lambda: not is_full(), "their places are free again")
        assert plain.command("PING") == b"+PONG\r\n"
    assert outcome(server, certificates.client_context()) == "+PONG"


def test_shutdown_with_clients_and_handshakes_leaves_at_once(start_server: StartServer, certificates: Certificates) -> None:
    server = start_tls(start_server, certificates)
    with server.connect() as client, Wire(server.port), Wire(server.port) as half:
        half.send(b"\x16\x03\x01\x02\x00")
        assert client.command("PING") == b"+PONG\r\n"
        assert server.server.stop() == 0
        assert client.read_until_eof() == b""


def test_port_for_tls_changes_at_run_time(start_server: StartServer, certificates: Certificates) -> None:
    """Begins, moves, changes places with the plain port, stays where it is if it can't move, and ends."""
    server = start_server(*COMMON_OPTIONS, *certificates.options())
    with server.connect() as wire, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        plain_port, tls_port, third_port = server.port, free_port(), free_port()

        def is_tls(port: int) -> bool | None:
            """True if the port speaks TLS, None if nobody listens there."""
            try:
                raw = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
            except ConnectionRefusedError:
                return None
            try:
                with certificates.client_context().wrap_socket(raw, server_hostname="127.0.0.1"):
                    return True
            except OSError:
                return False

        def ports() -> tuple[bool | None, ...]:
            return tuple(map(is_tls, (plain_port, tls_port, third_port)))

        assert wire.command("CONFIG", "SET", "tls-port", tls_port) == b"+OK\r\n"
        assert ports() == (False, True, None)
        refused = wire.command("CONFIG", "SET", "tls-port", taken.getsockname()[1])
        assert refused.endswith(b"'tls-port') - Unable to listen on this port. Check server logs.\r\n")
        assert ports() == (False, True, None)
        refused = wire.command("CONFIG", "SET", "port", third_port, "tls-port", taken.getsockname()[1])
        assert refused.endswith(b"'port') - Unable to listen on this port. Check server logs.\r\n")
        assert ports() == (False, True, None)
        assert wire.command("CONFIG", "SET", "tls-port", third_port) == b"+OK\r\n"
        assert ports() == (False, None, True)
        assert wire.command("CONFIG", "SET", "tls-port", plain_port, "port", third_port) == b"+OK\r\n"
        assert ports() == (True, None, False)
        assert wire.command("CONFIG", "SET", "tls-port", "0") == b"+OK\r\n"
        assert ports() == (None, None, False)
        assert wire.command("PING") == b"+PONG\r\n"


# --- The link to a source ---


def client_options(certificates: Certificates, name: str = "client") -> Config:
    config = Config()
    config.tls_client_cert_file, config.tls_client_key_file = (
        certificates.path(f"{name}.crt"),
        certificates.path(f"{name}.key"),
    )
    config.tls_ca_cert_file = certificates.path("authority.crt")
    return config


def test_source_that_speaks_tls_is_followed(
    certificates: Certificates, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port, delay = str(free_port()), ("--repl-diskless-sync-delay", "0")
    source = start_server("--tls-port", port, *delay, *certificates.options(), kind="redis-server")
    source.once("SET", "k", "v")
    options = ("--tls-replication", "yes", "--replicaof", f"127.0.0.1 {port}")
    ours = start_server(*options, *certificates.options())
    with ours.connect() as wire:
        wait_until(lambda: info(wire, "replication")["master_link_status"] == "up", "it follows")
        assert wire.value("GET", "k") == b"v"
    trusts_others = [*certificates.options()[:-1], certificates.path("other-authority.crt")]
    stranger = start_server(*options, *trusts_others, directory=tmp_path_factory.mktemp("stranger"))
    assert stranger.wait_for_line("Error condition on socket for SYNC: ")
    plain = start_server(*options[2:], directory=tmp_path_factory.mktemp("plain"))
    assert plain.wait_for_line("Error condition on socket for SYNC: Connection reset by peer")


def test_client_context_names_what_is_missing_or_wrong(certificates: Certificates) -> None:
    assert make_client_context(client_options(certificates)).verify_mode is ssl.CERT_REQUIRED
    config = client_options(certificates)
    config.tls_ca_cert_file = ""
    with pytest.raises(TLSError, match="tls-replication needs tls-ca-cert-file or tls-ca-cert-dir"):
        make_client_context(config)
    config = client_options(certificates)
    config.tls_client_cert_file = "/no/such/file"
    with pytest.raises(TLSError, match="tls-client-cert-file /no/such/file can't be read"):
        make_client_context(config)
    config = client_options(certificates)
    config.tls_client_key_file = certificates.path("server.key")
    with pytest.raises(TLSError, match="and its key can't be used: they don't belong together"):
        make_client_context(config)
