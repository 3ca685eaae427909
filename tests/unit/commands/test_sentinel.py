"""SENTINEL says where the primary is, in the fields and the errors of redis-server's Sentinel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.node_facts import OTHERS, OWN, shared
from helpers.servers import ServerProcess, Wire, parse
from helpers.sessions import run, text
from kvserver.commands.sentinel import NO_SUCH_MASTER
from kvserver.resp.reply import NULL_ARRAY, encode

LISTS = ("MASTERS", "REPLICAS kv", "SLAVES kv", "SENTINELS kv")


class Sentinel(ServerProcess):
    """redis-server as a Sentinel of the master `kv`, which is at a port."""

    master_port: int

    def command(self) -> list[str]:
        file = self.directory / "sentinel.conf"
        file.write_text(f"sentinel monitor kv 127.0.0.1 {self.master_port} 1\n")
        return [*super().command(), str(file), "--sentinel"]


@pytest.fixture(scope="module")
def sentinel(running_redis: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    process = Sentinel("redis-server", tmp_path_factory.mktemp("sentinel"))
    process.master_port = running_redis.port
    process._launch()
    try:
        assert process.wait_for_line("+monitor master kv")
        with process.connect() as wire:
            yield wire
    finally:
        process.kill()


def fields(reply: object) -> list[dict[str, str]]:
    assert isinstance(reply, list)
    return [{name.decode(): value.decode() for name, value in each.items()} for each in reply]


def test_primary_is_told_in_the_fields_of_sentinel(sentinel: Wire) -> None:
    server, _ = shared()
    (ours,) = fields(run(server.session(), "SENTINEL", "MASTERS"))
    flat = [word.decode() for word in sentinel.value("SENTINEL", "MASTER", "kv")]
    assert list(ours) == flat[::2]
    assert (ours["name"], ours["ip"], ours["port"], ours["flags"]) == ("kv", "10.0.0.1", "6379", "master")
    # Each node is a Sentinel, too, but for the one that is gone.
    assert (ours["num-slaves"], ours["num-other-sentinels"], ours["quorum"]) == ("3", "2", "1")
    assert [run(server.session(), "SENTINEL", "MASTER", "kv")] == run(server.session(), "SENTINEL", "MASTERS")


def test_standby_tells_of_its_primary_and_of_itself() -> None:
    server, facts = shared(is_primary=False)
    session = server.session()
    assert run(session, "SENTINEL", "get-master-addr-by-name", "kv") == [b"10.0.0.2", b"6380"]
    replicas = fields(run(session, "SENTINEL", "REPLICAS", "kv"))
    assert [(each["name"], each["flags"], each["slave-repl-offset"]) for each in replicas] == [
        ("10.0.0.1:6379", "slave", "100"),
        ("10.0.0.3:6381", "slave", "90"),
        ("10.0.0.4:6382", "s_down,slave,disconnected", "1"),
    ]
    assert {(each["master-host"], each["master-port"]) for each in replicas} == {("10.0.0.2", "6380")}
    assert run(session, "SENTINEL", "SLAVES", "kv") == run(session, "SENTINEL", "REPLICAS", "kv")
    others = fields(run(session, "SENTINEL", "SENTINELS", "kv"))
    assert [(each["name"], each["port"], each["flags"]) for each in others] == [
        ("two", "6380", "sentinel"),
        ("three", "6381", "sentinel"),
        ("gone", "6382", "s_down,sentinel,disconnected"),
    ]
    assert run(session, "SENTINEL", "MYID") == OWN.id.encode()
    usable = "OK 3 usable Sentinels. Quorum and failover authorization can be reached"
    assert text(run(session, "SENTINEL", "CKQUORUM", "kv")) == usable
    facts.others = []
    assert fields(run(session, "SENTINEL", "MASTERS"))[0]["num-other-sentinels"] == "0"


def test_primary_is_down_if_neither_its_log_nor_itself_tells_of_it() -> None:
    server, facts = shared(is_primary=False)

    def flags() -> str:
        return fields(run(server.session(), "SENTINEL", "MASTERS"))[0]["flags"]

    facts.others = [OTHERS[0]._replace(seen_s_ago=60.0, is_primary=True)]
    assert flags() == "master"
    facts.tail_age_s = lambda: 3.1
    assert flags() == "s_down,master"
    facts.others = [OTHERS[0]._replace(is_primary=True)]
    assert flags() == "master"


def test_old_primary_that_has_told_nothing_since_is_a_replica() -> None:
    server, facts = shared()
    facts.others = [OTHERS[0]._replace(is_primary=True)]
    assert [each["port"] for each in fields(run(server.session(), "SENTINEL", "REPLICAS", "kv"))] == ["6380"]


@pytest.mark.parametrize(
    "words",
    [
        *("MASTER no", "REPLICAS no", "SLAVES no", "SENTINELS no", "CKQUORUM no", "GET-MASTER-ADDR-BY-NAME no", "NOSUCH"),
        *("", "MASTER", "MASTERS x", "MYID x", "REPLICAS", "get-master-addr-by-name"),
    ],
)
def test_wrong_call_is_told_as_sentinel_tells_it(sentinel: Wire, words: str) -> None:
    reply: Any = run(shared()[0].session(), "SENTINEL", *words.split())
    theirs = sentinel.command("SENTINEL", *words.split())
    assert encode(reply, 2) == theirs


def test_nobody_is_known_until_somebody_has_led() -> None:
    server, facts = shared(is_primary=False)
    facts.primary = None
    session = server.session()
    assert run(session, "SENTINEL", "MASTERS") == []
    assert run(session, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "kv") == NULL_ARRAY
    assert text(run(session, "SENTINEL", "MASTER", "kv")) == NO_SUCH_MASTER


@pytest.mark.parametrize("words", LISTS)
def test_replies_are_arrays_in_resp2_and_maps_in_resp3(words: str) -> None:
    reply: Any = run(shared()[0].session(), "SENTINEL", *words.split())
    (first, *_) = parse(encode(reply, 2))
    assert isinstance(first, list)
    assert encode(reply, 3).partition(b"\r\n")[2].startswith(b"%")


def test_stale_standby_still_tells_of_the_primary() -> None:
    server, facts = shared(is_primary=False)
    facts.tail_age_s = lambda: 1e9
    server.state.config.replica_serve_stale_data = False
    assert len(fields(run(server.session(), "SENTINEL", "MASTERS"))) == 1
