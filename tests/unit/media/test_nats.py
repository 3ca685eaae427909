"""An engine in NATS, opened: what it makes, what it refuses, and what it promises."""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.certificates import Certificates
from helpers.nats_servers import NatsServers
from helpers.servers import free_port
from kvserver.errors import ExtraMissing, LogLost, MediumError
from kvserver.formats.manifest import BEGINNING, Manifest, Position
from kvserver.media.memory_engine import MemoryVault
from kvserver.media.nats import open_nats, stream_of
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_url import Login
from kvserver.media.shared import Mark


def own_name() -> str:
    return f"open-{secrets.token_hex(4)}"


def refused(url: str) -> str:
    """The line with which this URL is refused."""
    with pytest.raises(MediumError) as failure:
        open_nats(url)
    assert "\n" not in str(failure.value)
    assert "hidden" not in str(failure.value)
    assert not [thread for thread in threading.enumerate() if thread.name == "kvserver-nats"]
    return str(failure.value)


@contextmanager
def asking(servers: NatsServers) -> Iterator[Callable[..., dict[str, Any]]]:
    """A function that asks JetStream something."""
    client = NatsClient(servers.hosts().split(","), Login())
    client.open()
    yield lambda what, **body: client.ask(f"$JS.API.{what}", body, 10)
    client.close()


def streams_of(servers: NatsServers, name: str) -> dict[str, Any]:
    """The settings of all streams of this name's data."""
    with asking(servers) as ask:
        found = ask("STREAM.LIST").get("streams") or []
        return {
            stream["config"]["name"]: stream["config"] for stream in found if stream["config"]["name"].endswith(f"_{name}")
        }


@pytest.mark.parametrize(("nodes", "replicas"), [("nats_node", 1), ("nats_cluster", 3)])
def test_streams_are_made_once(nodes: str, replicas: int, request: pytest.FixtureRequest) -> None:
    servers: NatsServers = request.getfixturevalue(nodes)
    name = own_name()
    for _ in range(2):
        engine = open_nats(servers.url(name))
        assert engine.url == servers.url(name)
        assert engine.name == name
        engine.close()
    found = streams_of(servers, name)
    assert sorted(found) == [
        f"KVSERVER_{name}",
        f"KV_KVSERVER-NODES_{name}",
        f"KV_KVSERVER_{name}",
        f"OBJ_KVSERVER_{name}",
    ]
    assert {settings["num_replicas"] for settings in found.values()} == {replicas}
    assert {settings["discard"] for settings in found.values()} == {"new"}
    log = found[stream_of(name)]
    assert (log["storage"], log["retention"], log["deny_delete"]) == ("file", "limits", True)
    assert (log["max_msgs"], log["max_bytes"], log["max_age"]) == (-1, -1, 0)


def test_replicas_may_be_chosen_when_the_streams_are_made(nats_cluster: NatsServers) -> None:
    name = own_name()
    open_nats(nats_cluster.url(name, query="?replicas=1")).close()
    # What is there counts where the URL says nothing.
    open_nats(nats_cluster.url(name)).close()
    assert {settings["num_replicas"] for settings in streams_of(nats_cluster, name).values()} == {1}
    line = refused(nats_cluster.url(name, query="?replicas=3"))
    assert line.endswith(f"the stream KVSERVER_{name} is there with num_replicas 1, and not 3: it stays as it is")


def test_vault_of_another_kind_makes_an_object_store_superfluous(nats_node: NatsServers) -> None:
    name, vault = own_name(), MemoryVault()
    engine = open_nats(nats_node.url(name), vault)
    assert engine.vault is vault
    engine.close()
    assert f"OBJ_KVSERVER_{name}" not in streams_of(nats_node, name)


def test_too_few_nodes_are_told_of_and_nothing_is_made(nats_node: NatsServers, nats_cluster: NatsServers) -> None:
    for servers, count in ((nats_node, 3), (nats_cluster, 5)):
        name = own_name()
        line = refused(servers.url(name, query=f"?replicas={count}"))
        assert f"{count} replicas need as many nodes of NATS that are up, in one cluster" in line
        assert not streams_of(servers, name)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("subjects", ["theirs"], 'subjects ["theirs"], and not ["kvserver.'),
        ("retention", "workqueue", 'retention "workqueue", and not "limits"'),
        ("discard", "old", 'discard "old", and not "new"'),
        ("storage", "memory", 'storage "memory", and not "file"'),
        ("max_msgs", 1000, "max_msgs 1000, and not -1"),
        ("max_bytes", 1 << 30, "max_bytes 1073741824, and not -1"),
        ("max_age", 10**12, "max_age 1000000000000, and not 0"),
        ("max_msg_size", 1 << 20, "max_msg_size 1048576, and not -1"),
        ("max_msgs_per_subject", 5, "max_msgs_per_subject 5, and not -1"),
        ("allow_direct", False, "allow_direct false, and not true"),
        ("deny_delete", False, "deny_delete false, and not true"),
        ("deny_purge", True, "deny_purge true, and not false"),
        ("no_ack", True, "with no_ack"),
        ("first_seq", 7, "with first_seq"),
        ("persist_mode", "async", "with persist_mode async"),
        ("republish", {"src": ">", "dest": "x.>"}, "with republish"),
    ],
)
def test_stream_with_other_settings_is_told_of_and_stays(nats_node: NatsServers, key: str, value: object, told: str) -> None:
    name = own_name()
    settings: dict[str, object] = {
        "name": stream_of(name),
        "subjects": [f"kvserver.{name}"],
        "storage": "file",
        "discard": "new",
        "num_replicas": 1,
        "allow_direct": True,
        "deny_delete": True,
    }
    with asking(nats_node) as ask:
        answer = ask(f"STREAM.CREATE.{stream_of(name)}", **settings | {key: value})
        assert "error" not in answer, answer
    before = streams_of(nats_node, name)
    line = refused(nats_node.url(name))
    assert line.startswith(f"{nats_node.url(name)}: the stream KVSERVER_{name} is there ")
    assert told in line
    assert line.endswith("it stays as it is")
    assert streams_of(nats_node, name) == before
    with asking(nats_node) as ask:
        ask(f"STREAM.DELETE.{stream_of(name)}")


def test_bucket_with_other_settings_is_told_of(nats_node: NatsServers) -> None:
    name = own_name()
    bucket = f"KVSERVER_{name}"
    settings = {"name": f"KV_{bucket}", "subjects": [f"$KV.{bucket}.>"], "allow_direct": True, "max_msgs_per_subject": 10}
    with asking(nats_node) as ask:
        ask(f"STREAM.CREATE.KV_{bucket}", discard="new", allow_rollup_hdrs=True, **settings)
    assert "max_msgs_per_subject 10, and not 1" in refused(nats_node.url(name))


@pytest.mark.parametrize("has_own_vault", [True, False])
def test_log_is_not_made_anew_behind_a_snapshot(nats_node: NatsServers, has_own_vault: bool) -> None:
    name = own_name()
    vault = None if has_own_vault else MemoryVault()
    engine = open_nats(nats_node.url(name), vault)
    engine.vault.commit(Manifest(position=Position(1, 12)), "")
    engine.close()
    with asking(nats_node) as ask:
        assert ask(f"STREAM.DELETE.{stream_of(name)}")["success"]
    told = f"the stream {stream_of(name)} is gone, and the last snapshot goes on from its entry 12"
    for is_made in (True, False):
        with pytest.raises(LogLost, match=told):
            open_nats(nats_node.url(name), vault, is_made=is_made)
    assert stream_of(name) not in streams_of(nats_node, name)


def test_log_is_not_made_anew_where_nodes_have_led(nats_node: NatsServers) -> None:
    name = own_name()
    engine = open_nats(nats_node.url(name))
    engine.vault.commit(Manifest(epoch=3), "")
    engine.close()
    with asking(nats_node) as ask:
        assert ask(f"STREAM.DELETE.{stream_of(name)}")["success"]
    told = f"the stream {stream_of(name)} is gone, and had all data: nodes have led up to the epoch 3"
    with pytest.raises(LogLost, match=told):
        open_nats(nats_node.url(name))
    assert stream_of(name) not in streams_of(nats_node, name)


# Who does not let us in


def test_nobody_is_there() -> None:
    port = free_port()
    line = refused(f"nats://me:hidden@127.0.0.1:{port}/kv")
    assert line.startswith(f"no connection to NATS at 127.0.0.1:{port}: ")
    assert "refused" in line


def test_host_has_no_address() -> None:
    assert refused("nats://nowhere.invalid/kv").startswith("no connection to NATS at nowhere.invalid:4222: ")


@pytest.mark.parametrize(
    ("settings", "right", "wrong"),
    [
        ("authorization { user: me, password: 's#cret' }", "me:s%23cret@", ["me:hidden@", "hidden@", ""]),
        ("authorization { token: 't/ken' }", "t%2Fken@", ["me:hidden@", "hidden@", ""]),
    ],
)
def test_wrong_credentials(tmp_path: Path, settings: str, right: str, wrong: list[str]) -> None:
    with NatsServers(tmp_path, settings=settings) as servers:
        for login in wrong:
            line = refused(servers.url("kv").replace("//", f"//{login}"))
            assert line == (
                f"no connection to NATS at {servers.hosts()}: "
                "the server wants a user with a password, or a token, and does not take this one"
            )
        open_nats(servers.url("kv").replace("//", f"//{right}")).close()


RIGHTS = [
    ("nothing", 'publish: { deny: ">" }, subscribe: { deny: ">" }', r'lets no answer come to this user: .* "_inbox\.\w+\.\*"'),
    ("no answers", 'subscribe: { deny: "_INBOX.>" }', r'lets no answer come to this user: .* "_inbox\.\w+\.\*"'),
    ("no JetStream", 'publish: { deny: "$JS.API.>" }', r'not let this user do that: .*publish to "\$js\.api\.info"'),
    ("no entries", 'publish: { deny: "kvserver.>" }', r'not let this user do that: .*publish to "kvserver\.kv"'),
    ("no manifest", 'publish: { deny: "$KV.>" }', r'not let this user do that: .*publish to "\$kv\.kvserver_kv\.manifest"'),
]


@pytest.mark.parametrize(("rights", "told"), [case[1:] for case in RIGHTS], ids=[case[0] for case in RIGHTS])
def test_user_without_rights_is_told_at_once(tmp_path: Path, rights: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody waits for this, nor asks again.
    monkeypatch.setattr("kvserver.media.nats.CREATE_S", 10_000.0)
    monkeypatch.setattr("kvserver.media.nats.ANSWER_S", 10_000.0)
    settings = f"authorization {{ users: [{{ user: me, password: pw, permissions: {{ {rights} }} }}] }}"
    with NatsServers(tmp_path, settings=settings) as servers:
        line = refused(servers.url("kv").replace("//", "//me:pw@"))
    assert line.startswith(f"{servers.url('kv')}: NATS ")
    assert re.search(told, line), line
    assert "permissions violation" in line


def test_looking_for_rights_stores_nothing(nats_cluster: NatsServers) -> None:
    name = own_name()
    for _ in range(2):
        engine = open_nats(nats_cluster.url(name))
        assert engine.log.read(BEGINNING, 0) == []
        assert engine.vault.manifest() == (None, "")
        assert engine.log.append(b"x", Mark(1, 1, ""), BEGINNING).number == 1
        engine.log.trim(Position(1, 1))
        engine.close()
        with asking(nats_cluster) as ask:
            assert ask(f"STREAM.DELETE.{stream_of(name)}")["success"]


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = Certificates(tmp_path)
    settings = f'tls {{ cert_file: "{certificates.path("server.crt")}", key_file: "{certificates.path("server.key")}" }}'
    with NatsServers(tmp_path / "server", settings=settings) as servers:
        url = servers.url("kv").replace("nats://", "tls://")
        assert "certificate verify failed" in refused(url)
        monkeypatch.setenv("SSL_CERT_FILE", certificates.path("authority.crt"))
        engine = open_nats(url)
        assert engine.url == url
        assert engine.log.append(b"x", Mark(1, 1, ""), BEGINNING).number == 1
        engine.close()


def test_own_authority(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    settings = f'tls {{ cert_file: "{certificates.path("server.crt")}", key_file: "{certificates.path("server.key")}" }}'
    with NatsServers(tmp_path / "server", settings=settings) as servers:
        url = servers.url("kv").replace("nats://", "tls://")
        engine = open_nats(f"{url}?ca={certificates.path('authority.crt')}")
        assert engine.url == url
        engine.close()
        assert "certificate verify failed" in refused(f"{url}?ca={certificates.path('other-authority.crt')}")
        missing, empty = certificates.path("nowhere.crt"), certificates.path("extensions.cnf")
        told = f"{missing}, can't be read: No such file or directory"
        assert refused(f"{url}?ca={missing}").endswith(told)
        assert f"{empty}, can't be read: " in refused(f"{url}?ca={empty}")


def test_jetstream_is_off(tmp_path: Path) -> None:
    with NatsServers(tmp_path / "server", has_jetstream=False) as servers:
        assert refused(servers.url("kv")).endswith(
            "JetStream is off: nats-server -js, or jetstream {} in its settings, switches it on"
        )
    accounts = (
        "accounts { A { users: [{user: me, password: pw}] }, B { jetstream: enabled, users: [{user: you, password: pw}] } }"
    )
    with NatsServers(tmp_path / "account", settings=accounts) as servers:
        assert refused(servers.url("kv").replace("//", "//me:pw@")).endswith("JetStream is off for this user's account")
        open_nats(servers.url("kv").replace("//", "//you:pw@")).close()


@contextmanager
def speaker(greeting: bytes) -> Iterator[int]:
    """A port at which somebody greets so, and answers each PING."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.sendall(greeting)
                        while received := connection.recv(4096):
                            connection.sendall(b"PONG\r\n" * received.count(b"PING"))
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        ({"version": "2.10.29", "max_payload": 1 << 20}, "nats-server 2.11 or later is needed, and this one is 2.10.29"),
        ({"max_payload": 1 << 20}, "nats-server 2.11 or later is needed, and this one is of no version"),
        ({"version": "2.15.1", "max_payload": 4096}, "the server's max_payload is 4096, and 65536 bytes are the least"),
    ],
)
def test_server_will_not_do(greeting: dict[str, object], told: str) -> None:
    with speaker(b"INFO " + json.dumps(greeting).encode() + b"\r\n") as port:
        assert f"nats://127.0.0.1:{port}/kv: {told}" in refused(f"nats://127.0.0.1:{port}/kv")


def test_something_else_is_there() -> None:
    with speaker(b"-ERR unknown command\r\n") as port:
        line = refused(f"nats://127.0.0.1:{port}/kv")
    assert line == f"no connection to NATS at 127.0.0.1:{port}: empty response from server when expecting INFO message"


def test_nats_py_is_not_installed(nats_node: NatsServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    with pytest.raises(ExtraMissing, match=r"a medium nats:// needs nats-py: pip install 'kvserver\[nats\]'"):
        open_nats(nats_node.url("kv"))


# What survives


@pytest.mark.parametrize(
    ("nodes", "kill"),
    [
        ("nats_node", "a kill of the node is survived, once it is back"),
        ("nats_cluster", "a kill of any 1 of 3 nodes is survived, and of all, once most are back"),
    ],
)
def test_promises_where_each_node_syncs_first(nodes: str, kill: str, request: pytest.FixtureRequest) -> None:
    servers: NatsServers = request.getfixturevalue(nodes)
    monitors = ",".join(f"127.0.0.1:{node.monitoring_port}" for node in servers.nodes)
    engine = open_nats(servers.url(own_name(), query=f"?monitor={monitors}"))
    assert engine.promises == (kill, "a power loss of one node is survived, and of all: each syncs before it acknowledges")
    assert engine.warnings == ()
    engine.close()


def test_warning_where_not_each_node_was_asked(nats_cluster: NatsServers) -> None:
    monitors = ",".join(f"127.0.0.1:{node.monitoring_port}" for node in nats_cluster.nodes[:2])
    engine = open_nats(nats_cluster.url(own_name(), nats_cluster.nodes[0], query=f"?monitor={monitors}"))
    told = "power loss: sync_interval is always on 2 of 3 nodes, and not known of the others"
    assert engine.promises[1] == told
    assert engine.warnings == (f"{told} (name each by ?monitor=host:8222,host2:8222)",)
    engine.close()


def test_warning_where_nodes_sync_later(tmp_path: Path) -> None:
    with NatsServers(tmp_path, sync_interval="90s") as servers:
        engine = open_nats(servers.url("kv", query=f"?monitor=127.0.0.1:{servers.nodes[0].monitoring_port}"))
        told = "a power loss may take the acknowledged writes of the last 90 s: sync_interval is not always"
        assert engine.promises[1] == told
        assert engine.warnings == (told,)
        engine.log.append(b"x", Mark(1, 1, ""), BEGINNING)
        engine.close()


def test_warning_where_nobody_tells(nats_node: NatsServers) -> None:
    for query in ("", f"?monitor=127.0.0.1:{free_port()}", f"?monitor={nats_node.hosts()}"):
        engine = open_nats(nats_node.url("kv", query=query))
        assert engine.promises[1].startswith("power loss: unknown")
        assert engine.warnings == (
            "sync_interval of NATS is not known: unless it is always, a power loss may take acknowledged writes",
        )
        engine.close()
