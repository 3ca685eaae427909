"""INFO replication has Redis's fields of a master and of a replica, and INFO medium tells how the engine does."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis._parsers.helpers import parse_info

from helpers.node_facts import LOG_ID, shared
from helpers.servers import ServerProcess, StartServer, info, wait_until
from helpers.sessions import Server, run
from kvserver.commands.nodes_info import medium, replication
from kvserver.resp.reply import Verbatim
from kvserver.state.source import LinkState, SourceFacts

# The fields of a follower that Redis does not have.
OURS = ("master_link_error", "master_link_given_up")


def test_server_alone_is_a_master_without_replicas() -> None:
    fields = replication(Server().state)
    assert (fields["role"], fields["connected_slaves"], fields["master_repl_offset"]) == ("master", 0, 0)


def test_primary_has_a_line_for_each_replica_that_is_up() -> None:
    server, facts = shared()
    fields = replication(server.state)
    assert fields["connected_slaves"] == 2
    assert fields["slave0"] == "ip=10.0.0.2,port=6380,state=online,offset=98,lag=0"
    assert fields["slave1"] == "ip=10.0.0.3,port=6381,state=online,offset=90,lag=1"
    assert "slave2" not in fields
    assert (fields["master_replid"], fields["master_repl_offset"]) == (LOG_ID, 100)
    assert fields["master_failover_state"] == "no-failover"
    facts.is_yielding = True
    assert replication(server.state)["master_failover_state"] == "failover-in-progress"


def test_standby_tells_of_its_primary_and_the_link() -> None:
    server, facts = shared(is_primary=False)
    facts.tail_age_s = lambda: 2.6
    fields = replication(server.state)
    assert (fields["role"], fields["master_host"], fields["master_port"]) == ("slave", "10.0.0.2", 6380)
    assert (fields["master_link_status"], fields["master_last_io_seconds_ago"]) == ("up", 2)
    assert fields["slave_repl_offset"] == fields["master_repl_offset"] == 100
    facts.is_link_up = False
    fields = replication(server.state)
    assert (fields["master_link_status"], fields["master_link_down_since_seconds"]) == ("down", 2)
    facts.is_link_up, facts.primary = True, None
    assert replication(server.state)["master_link_status"] == "down"


@pytest.mark.parametrize("is_primary", [True, False], ids=["primary", "standby"])
def test_fields_are_those_of_redis_in_its_order(
    running_redis: ServerProcess, start_server: StartServer, is_primary: bool
) -> None:
    running_redis.once("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    replica = start_server("--replicaof", f"127.0.0.1 {running_redis.port}", kind="redis-server")
    with replica.connect() as wire, running_redis.connect() as master:
        wait_until(lambda: info(wire, "replication")["master_link_status"] == "up", "it is a replica")
        wait_until(lambda: "slave0" in info(master, "replication"), "the master has a replica")
        theirs = info(master if is_primary else wire, "replication")
        server, facts = shared(is_primary=is_primary)
        facts.others = facts.others[:1]
        assert list(replication(server.state)) == list(theirs)
        if is_primary:
            assert theirs["slave0"].split("=")[0::1][0] == str(replication(server.state)["slave0"]).split("=")[0]
        else:
            wire.command("REPLICAOF", "127.0.0.1", 1)
            facts.is_link_up = False
            assert list(replication(server.state)) == list(info(wire, "replication"))


@pytest.mark.parametrize("state", list(LinkState))
def test_fields_of_a_follower_are_those_of_redis_in_its_order(
    start_server: StartServer, tmp_path: Path, state: LinkState
) -> None:
    (tmp_path / "master").mkdir()
    options = ("--save", "", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "local")
    master = start_server(*options, kind="redis-server", directory=tmp_path / "master")
    if state is LinkState.SYNC:
        master.once("DEBUG", "POPULATE", 1000)
        master.once("CONFIG", "SET", "rdb-key-save-delay", 100_000)
    port = master.port if state in (LinkState.CONNECTED, LinkState.SYNC) else 1
    replica = start_server("--replicaof", f"127.0.0.1 {port}", kind="redis-server")
    with replica.connect() as wire:
        if port != 1:
            field, value = ("master_link_status", "up") if state is LinkState.CONNECTED else ("master_sync_in_progress", "1")
            wait_until(lambda: info(wire, "replication")[field] == value, "it is a replica")
        theirs = info(wire, "replication")
    server = Server()
    facts = server.state.replication
    source = facts.source = SourceFacts("127.0.0.1", port, lambda: 5.0)
    facts.is_primary, source.state = False, state
    ours = {name: value for name, value in replication(server.state).items() if not name.startswith(OURS)}
    assert list(ours) == list(theirs)
    same = ["role", "master_host", "master_port", "master_link_status", "master_last_io_seconds_ago", "slave_priority"]
    same += ["master_sync_in_progress", "slave_read_only", "replica_announced", "connected_slaves"]
    same += ["master_link_down_since_seconds"] if state is not LinkState.CONNECTED else []
    assert {name: str(ours[name]) for name in same} == {name: theirs[name] for name in same}


def test_why_there_is_no_link_is_told() -> None:
    server = Server()
    facts = server.state.replication
    source = facts.source = SourceFacts("127.0.0.1", 1, lambda: 5.0)
    facts.is_primary = False
    source.lost("Unable to AUTH to MASTER: -WRONGPASS a, b=c")
    fields = replication(server.state)
    assert (fields["master_link_error"], fields["master_link_given_up"]) == ("Unable to AUTH to MASTER: -WRONGPASS a; b:c", 0)
    source.has_given_up = True
    assert replication(server.state)["master_link_given_up"] == 1


def test_engine_has_a_section_of_its_own() -> None:
    server, facts = shared()
    engine = facts.engine
    engine.appended, engine.refused, engine.unknown, engine.unknown_landed, engine.unknown_sent_again = 5, 1, 3, 2, 1
    engine.lease_left_ms, engine.waiting_bytes = lambda: 1_900, lambda: 77
    engine.append_p50_us, engine.append_p99_us = lambda: 400, lambda: 9_000
    engine.error, engine.promises = "no route", ("a kill loses nothing", "so does a power cut")
    facts.switches = 2
    told = run(server.session(), "INFO", "medium")
    assert isinstance(told, Verbatim)
    lines = told.decode().split("\r\n")
    assert lines[0] == "# Medium"
    fields = dict(line.split(":", 1) for line in lines[1:] if line)
    assert fields == {name: str(value) for name, value in medium(server.state).items()}
    assert (fields["medium_url"], fields["medium_epoch"], fields["medium_lease_left_ms"]) == ("nats://host/kv", "4", "1900")
    assert (fields["medium_appends"], fields["medium_appends_unknown_sent_again"]) == ("5", "1")
    assert (fields["medium_append_p50_usec"], fields["medium_pending_bytes"]) == ("400", "77")
    assert (fields["medium_error"], fields["medium_promise1"]) == ("no route", "so does a power cut")


def test_clients_find_plain_text_where_there_were_commas() -> None:
    server, facts = shared()
    facts.engine.url = "nats://127.0.0.1:4221,127.0.0.1:4222/kv"
    facts.engine.error = "nats://127.0.0.1:4221/kv: replicas=7 is no number, nor is 8"
    facts.engine.promises = ("a kill is survived, and of all, once most are back",)
    told = run(server.session(), "INFO", "medium")
    assert isinstance(told, Verbatim)
    found = parse_info(told.decode())  # type: ignore[no-untyped-call]
    assert found["medium_url"] == "nats://127.0.0.1:4221;127.0.0.1:4222/kv"
    assert found["medium_error"] == "nats://127.0.0.1:4221/kv: replicas:7 is no number; nor is 8"
    assert found["medium_promise0"] == "a kill is survived; and of all; once most are back"


@pytest.mark.parametrize("words", ["", "default", "all", "everything", "medium"])
def test_section_is_there_only_with_an_engine(words: str) -> None:
    for server, is_there in ((Server(), False), (shared()[0], True)):
        told = run(server.session(), "INFO", *words.split())
        assert isinstance(told, Verbatim)
        assert (told.find(b"# Medium\r\n") >= 0) is is_there
