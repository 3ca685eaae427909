"""Replies whose content is each server's own have the shape of redis-server's."""

from __future__ import annotations

import re

import pytest

from helpers.conversations import PROTOCOLS
from helpers.servers import ServerProcess, parse, split_replies


def test_hello_3_gives_a_map_whose_keys_are_bulk_strings(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    keys = [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            raw = wire.command("HELLO", "3", "SETNAME", "me")
            assert raw.startswith(b"%7\r\n$6\r\nserver\r\n$")
            assert split_replies(raw[4:])[0::2] == [b"$%d\r\n%s\r\n" % (len(key), key) for key in keys]
            hello = parse(raw)
            assert (hello[b"proto"], hello[b"mode"], hello[b"role"]) == (3, b"standalone", b"master")
            assert hello[b"id"] == wire.value("CLIENT", "ID")
            assert wire.value("CLIENT", "GETNAME") == b"me"
            assert wire.command("GET", "missing") == b"_\r\n"


def test_hello_2_gives_a_flat_array_and_goes_back(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("HELLO", "3")
            hello = wire.command("HELLO", "2")
            assert hello.startswith(b"*14\r\n$6\r\nserver\r\n")
            assert wire.command("GET", "missing") == b"$-1\r\n"
            assert wire.command("HELLO") == hello


def test_hello_without_a_version_keeps_the_protocol(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        assert wire.command("HELLO").startswith(b"*14\r\n")
        wire.command("HELLO", "3")
        assert wire.command("HELLO").startswith(b"%7\r\n")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("arguments", [("CLIENT", "INFO"), ("CLIENT", "LIST"), ("INFO",), ("INFO", "server")])
def test_long_texts_are_verbatim_in_resp3_as_in_redis(
    kvserver: ServerProcess, redis_oracle: ServerProcess, arguments: tuple[str, ...], protocol: int
) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("HELLO", protocol)
            head, _, text = wire.command(*arguments).partition(b"\r\n")
            assert head.startswith(b"$" if protocol == 2 else b"=")
            assert protocol == 2 or text.startswith(b"txt:")


def test_client_info_names_the_connection(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire, server.connect() as other:
            wire.command("HELLO", "3", "SETNAME", "me")
            other.command("PING")
            line = wire.value("CLIENT", "INFO").decode()
            fields = dict(field.split("=", 1) for field in line.split())
            host, port = wire.socket.getsockname()
            assert fields["id"] == str(wire.value("CLIENT", "ID"))
            assert fields["addr"] == f"{host}:{port}"
            assert fields["laddr"] == f"127.0.0.1:{server.port}"
            assert (fields["name"], fields["db"], fields["cmd"]) == ("me", "0", "client|info")
            listed = wire.value("CLIENT", "LIST").decode().splitlines()
            ids = {dict(field.split("=", 1) for field in entry.split())["id"] for entry in listed}
            assert {fields["id"], str(other.value("CLIENT", "ID"))} <= ids
            only = wire.value("CLIENT", "LIST", "ID", fields["id"]).decode().splitlines()
            assert [entry.split()[0] for entry in only] == [f"id={fields['id']}"]


def test_client_ids_grow_and_are_never_given_twice(kvserver: ServerProcess) -> None:
    ids = [parse(kvserver.once("CLIENT", "ID")) for _ in range(10)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_command_docs_have_the_shape_that_redis_cli_reads(
    kvserver: ServerProcess, redis_oracle: ServerProcess, protocol: int
) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("HELLO", protocol)
            docs = wire.value("COMMAND", "DOCS", "get")
            fields = docs[b"get"] if protocol == 3 else dict(zip(docs[1][0::2], docs[1][1::2], strict=True))
            assert {b"summary", b"since", b"group", b"complexity"} <= set(fields)
            assert fields[b"summary"] != b""


def test_command_count_and_list_agree(kvserver: ServerProcess) -> None:
    """But for subcommands, which are listed and not counted, as in Redis."""
    with kvserver.connect() as wire:
        names = [name for name in wire.value("COMMAND", "LIST") if b"|" not in name]
        assert wire.value("COMMAND", "COUNT") == len(names) == len(set(names)) == len(wire.value("COMMAND"))
        assert [info[0] for info in wire.value("COMMAND", "INFO", *names)] == names


def test_info_has_what_clients_and_monitors_read(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.command("SET", "k", "v")
        lines = wire.value("INFO").decode().split("\r\n")
        assert {"# Server", "# Clients", "# Memory", "# Persistence", "# Stats", "# Keyspace"} <= set(lines)
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        assert fields["tcp_port"] == str(kvserver.port)
        assert fields["process_id"] == str(kvserver.process.pid)
        assert fields["redis_version"].count(".") == 2
        assert fields["db0"].startswith("keys=1,")
        assert int(fields["connected_clients"]) >= 1
        only = wire.value("INFO", "server").decode()
        assert re.findall("^# .*", only, re.MULTILINE) == ["# Server\r"]


def test_client_info_tells_the_library_that_setinfo_named(kvserver: ServerProcess) -> None:
    """CLIENT SETINFO is of Redis 7.2; its replies are in the case file of CLIENT."""
    with kvserver.connect() as wire:
        assert wire.command("CLIENT", "SETINFO", "LIB-NAME", "a-library") == b"+OK\r\n"
        assert wire.command("CLIENT", "SETINFO", "lib-ver", "1.2.3") == b"+OK\r\n"
        assert b" lib-name=a-library lib-ver=1.2.3" in wire.value("CLIENT", "INFO")
