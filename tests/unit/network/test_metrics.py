"""The metrics are what INFO says, under redis_exporter's names and types, in a text that Prometheus's parser takes."""

from __future__ import annotations

import urllib.request

import pytest

from helpers.servers import StartServer, info
from helpers.sessions import Server, run

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from kvserver.network.metrics import (
    BACKUP_GAUGES,
    COUNTERS,
    GAUGES,
    MEDIUM_COUNTERS,
    MEDIUM_GAUGES,
    SAMPLES_IN_A_PIECE,
    STANDBY_GAUGES,
    pieces,
)
from kvserver.state.replication import Primary
from kvserver.state.statistics import Buffers

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(page: str) -> tuple[Samples, dict[str, str]]:
    """The samples of a page by name and labels, and the types of its metrics."""
    samples: Samples = {}
    types = {}
    for family in text_string_to_metric_families(page):
        assert family.name not in types, "a metric has two heads"
        types[family.name] = family.type
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in samples
            samples[key] = sample.value
    return samples, types


def page_of(server: Server) -> str:
    return b"".join(pieces(server.state)).decode()


def test_metrics_are_what_info_says(start_server: StartServer) -> None:
    server = start_server("--save", "", "--http-port", "auto")
    line = server.wait_for_line("listening on ")
    assert line
    url = next(word for word in line.split() if word.startswith("http://"))
    with server.connect() as wire:
        for number in range(30):
            wire.command("SET", f"key:{number}", "x", "EX", "1000")
        wire.command("GET", "key:1")
        wire.command("GET", "nokey")
        wire.command("SELECT", "3")
        wire.command("SET", "k", "v")
        wire.command("LPUSH", "k", "v")
        wire.command("NOSUCH")
        page = urllib.request.urlopen(f"{url}/metrics", timeout=20).read().decode()
        facts = {**info(wire, "everything")}
    samples, types = parsed(page)
    plain = {name: value for (name, labels), value in samples.items() if not labels}
    steady = {
        *("config_maxclients", "connected_clients", "rdb_changes_since_last_save", "process_id", "aof_enabled"),
        *("keyspace_hits_total", "keyspace_misses_total", "memory_used_bytes", "connections_received_total"),
    }
    fields = {name: field for field, name in (*GAUGES.items(), *COUNTERS.items())}
    assert {name: plain[f"redis_{name}"] for name in steady} == {name: float(facts[fields[name]]) for name in steady}
    assert plain["redis_up"] == plain["redis_rdb_last_bgsave_status"] == plain["redis_aof_last_write_status"] == 1
    # HELLO or INFO may have come behind it.
    assert 0 < plain["redis_commands_processed_total"] <= float(facts["total_commands_processed"])
    labelled = {(name, dict(labels).get("cmd") or dict(labels).get("db") or dict(labels).get("err")): value
                for (name, labels), value in samples.items() if labels}  # fmt: skip
    assert labelled["redis_commands_total", "set"] == 31
    assert labelled["redis_commands_total", "get"] == 2
    assert labelled["redis_commands_failed_calls_total", "lpush"] == 1
    assert labelled["redis_commands_duration_seconds_total", "lpush"] >= 0
    assert labelled["redis_errors_total", "WRONGTYPE"] == labelled["redis_errors_total", "ERR"] == 1
    assert labelled["redis_db_keys", "db0"] == labelled["redis_db_keys_expiring", "db0"] == 30
    assert labelled["redis_db_keys", "db3"] == 1
    assert 900 < labelled["redis_db_avg_ttl_seconds", "db0"] <= 1000
    assert types["redis_commands_processed"] == types["redis_commands"] == types["redis_cpu_user_seconds"] == "counter"
    assert types["redis_memory_used_bytes"] == types["redis_db_keys"] == "gauge"
    (instance,) = (dict(labels) for name, labels in samples if name == "redis_instance_info")
    assert instance["redis_version"] == facts["redis_version"]
    assert instance["role"] == "master"


def test_every_field_that_has_a_name_is_told_once() -> None:
    samples, types = parsed(page_of(Server()))
    for name in (*GAUGES.values(), *COUNTERS.values()):
        assert (f"redis_{name}", ()) in samples
    assert all(types[f"redis_{name.removesuffix('_total')}"] == "counter" for name in COUNTERS.values())
    assert all(types[f"redis_{name}"] == "gauge" for name in GAUGES.values())


def test_standby_tells_of_its_link_and_of_the_engine() -> None:
    plain, _ = parsed(page_of(Server()))
    assert not [name for name, _ in plain if "medium" in name or "master_link" in name]
    server = Server()
    facts = server.state.replication
    facts.is_primary, facts.engine.url, facts.engine.appended, facts.applied = False, "nats://host/kv", 7, 9
    facts.primary = Primary("id", "host", 1)
    samples, types = parsed(page_of(server))
    assert all((f"redis_{name}", ()) in samples for name in STANDBY_GAUGES.values())
    assert all((f"kvserver_{name}", ()) in samples for name in (*MEDIUM_GAUGES.values(), *MEDIUM_COUNTERS.values()))
    assert samples["kvserver_medium_appends_total", ()] == 7
    assert samples["redis_master_link_up", ()] == 1
    assert samples["redis_slave_repl_offset", ()] == 9
    assert types["kvserver_medium_appends"] == "counter"


def test_copies_of_snapshots_are_told_where_there_are_some() -> None:
    assert "kvserver_snapshots" not in page_of(Server())
    server = Server()
    facts = server.state.backup
    facts.url, facts.error, facts.last_at = "s3://bucket/kv", "no route", 1700
    samples, _ = parsed(page_of(server))
    assert all((f"kvserver_{name}", ()) in samples for name in BACKUP_GAUGES.values())
    assert samples["kvserver_snapshots_last_status", ()] == 0
    assert samples["kvserver_snapshots_last_timestamp_seconds", ()] == 1700


def test_long_metric_has_one_head_and_comes_in_pieces() -> None:
    server = Server()
    for usage in server.state.usages.by_name.values():
        usage.calls = 7
    made = list(pieces(server.state))
    samples, _ = parsed(b"".join(made).decode())
    told = {dict(labels)["cmd"]: value for (name, labels), value in samples.items() if name == "redis_commands_total"}
    assert told == {usage.name: 7.0 for usage in server.state.usages.by_name.values()}
    assert max(piece.count(b"redis_commands_total{") for piece in made) == SAMPLES_IN_A_PIECE


def test_what_connections_hold_is_counted() -> None:
    server = Server()
    sessions = [server.session() for _ in range(3)]
    server.state.sessions.update({session.id: session for session in sessions})
    held = {
        session.id: Buffers(query_bytes=number, reply_bytes=10 * number, total_bytes=100)
        for number, session in enumerate(sessions)
    }
    server.state.buffers_of = held.__getitem__
    samples, _ = parsed(page_of(server))
    assert samples["redis_client_recent_max_input_buffer_bytes", ()] == 2
    assert samples["redis_client_recent_max_output_buffer_bytes", ()] == 20
    assert samples["redis_mem_clients_normal", ()] == 300


def test_odd_labels_are_escaped() -> None:
    server = Server()
    server.state.usages.errors['a"b\\c\nd'] += 1
    samples, _ = parsed(page_of(server))
    assert samples["redis_errors_total", (("err", 'a"b\\c\nd'),)] == 1


def test_page_changes_nothing() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v")

    def figures() -> dict[str, object]:
        # A compiled class has no `__dict__`.
        counters = server.state.counters
        found = {name: getattr(counters, name) for name in dir(counters) if not name.startswith("_")}
        return {name: value for name, value in found.items() if isinstance(value, int)}

    before = figures(), len(server.keyspace)
    assert "commands_processed" in before[0]
    page_of(server)
    assert (figures(), len(server.keyspace)) == before
