"""sections: what INFO says of a state that is set by hand, and that it has the fields of redis-server."""

from __future__ import annotations

import pytest
from servers import ServerProcess, parse
from sessions import Server, run

from kvserver.commands.sections import SECTIONS, human
from kvserver.resp.reply import Verbatim
from kvserver.state.facts import ProcessFacts


def info(server: Server, *sections: str) -> dict[str, str]:
    reply = run(server.session(), "INFO", *sections)
    assert isinstance(reply, Verbatim)
    assert b"\n" not in reply.replace(b"\r\n", b"")
    lines = reply.decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))


def test_times_are_of_the_clock() -> None:
    server = Server()
    server.clock.now_ms += 86_400_000 * 2 + 1_999
    fields = info(server)
    assert fields["uptime_in_seconds"] == str(86_400 * 2 + 1)
    assert fields["uptime_in_days"] == "2"
    facts = server.state.persistence
    assert fields["rdb_current_bgsave_time_sec"] == "-1"
    facts.flush_in_progress, facts.flush_started_at = True, server.clock.now_ms / 1000 - 3
    assert info(server)["rdb_current_bgsave_time_sec"] == "3"


def test_failed_flush_and_poisoned_medium_are_shown() -> None:
    server = Server()
    assert info(server)["rdb_last_bgsave_status"] == "ok"
    facts = server.state.persistence
    facts.last_save_ok, facts.last_save_error, facts.medium_poisoned = False, "cannot sync", "cannot sync /x"
    fields = info(server, "persistence")
    assert fields["rdb_last_bgsave_status"] == "err"
    assert "cannot sync" in fields["rdb_last_bgsave_error"]
    assert "cannot sync" in fields["medium_poisoned"]


def test_changes_count_what_was_written_since_the_last_flush() -> None:
    server = Server()
    session = server.session()
    for words in (("SET", "a", "1"), ("SET", "b", "1"), ("GET", "a"), ("DEL", "a"), ("DEL", "a"), ("SET", "a", "1", "XX")):
        run(session, *words)
    assert info(server)["rdb_changes_since_last_save"] == "3"
    server.keyspace.take_written()
    assert info(server)["rdb_changes_since_last_save"] == "3"
    server.state.persistence.changes_at_last_save = server.keyspace.changes
    run(session, "FLUSHALL")
    assert info(server)["rdb_changes_since_last_save"] == "1"


def test_loading_has_its_progress_without_a_division_by_zero() -> None:
    server = Server()
    server.state.persistence.loading = True
    assert info(server)["loading_loaded_perc"] == "100.00"
    server.state.persistence.load_total_bytes, server.state.persistence.load_done_bytes = 300, 100
    assert info(server)["loading_loaded_perc"] == "33.33"
    assert info(server)["loading"] == "1"


def test_keyspace_is_shown_once_there_are_keys() -> None:
    server = Server()
    assert "db0" not in info(server)
    run(server.session(), "SET", "a", "1")
    run(server.session(), "SET", "b", "1", "PX", 70_000)
    server.clock.now_ms += 20_000
    assert info(server)["db0"] == "keys=2,expires=1,avg_ttl=50000"


def test_facts_of_the_process_are_shown() -> None:
    server = Server()
    server.state.process_facts = lambda: ProcessFacts(rss_bytes=1_536 * 1024, peak_rss_bytes=5, process_id=42)
    fields = info(server)
    assert fields["used_memory_rss"] == str(1_536 * 1024)
    assert fields["used_memory_rss_human"] == "1.50M"
    assert fields["process_id"] == "42"


def test_memory_that_is_used_is_that_of_keys_and_values() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "a", "x" * 10_000)
    used = server.state.memory.used_bytes
    assert info(server)["used_memory"] == info(server)["used_memory_peak"] == str(used)
    run(session, "DEL", "a")
    fields = info(server)
    assert int(fields["used_memory"]) < used - 10_000
    assert int(fields["used_memory_peak"]) == used
    assert fields["used_memory_dataset"] == "0"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.00K"),
        (1536, "1.50K"),
        (1 << 20, "1.00M"),
        (3 << 30, "3.00G"),
        (5 << 40, "5.00T"),
        (5000 << 40, "5000.00T"),
    ],
)
def test_sizes_are_spelled_as_redis_spells_them(size: int, shown: str) -> None:
    assert human(size) == shown


# --- The fields of Redis

# About its build, its allocator, its forks and its event loop, or about what is not here and no tool asks for.
NOT_HERE = {
    "Server": {
        "redis_git_sha1", "redis_git_dirty", "redis_build_id", "monotonic_clock", "atomicvar_api", "gcc_version", "lru_clock",
    },
    "Memory": {
        "allocator_allocated", "allocator_active", "allocator_resident", "allocator_frag_ratio", "allocator_frag_bytes",
        "allocator_rss_ratio", "allocator_rss_bytes", "rss_overhead_ratio", "rss_overhead_bytes",
        "used_memory_vm_eval", "used_memory_lua_human", "used_memory_scripts_eval", "used_memory_vm_functions",
        "used_memory_vm_total", "used_memory_vm_total_human", "used_memory_functions", "used_memory_scripts_human",
        "mem_replication_backlog", "mem_total_replication_buffers", "mem_cluster_links",
        "lazyfreed_objects",
    },
    "Persistence": {
        "current_cow_peak", "current_cow_size_age", "current_fork_perc", "aof_rewrites",
        "aof_rewrites_consecutive_failures", "module_fork_in_progress", "module_fork_last_cow_size",
    },
    "Stats": {
        "instantaneous_input_repl_kbps", "instantaneous_output_repl_kbps", "expired_stale_perc",
        "expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "total_eviction_exceeded_time",
        "current_eviction_exceeded_time", "migrate_cached_sockets", "active_defrag_hits", "active_defrag_misses",
        "active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time", "current_active_defrag_time",
        "dump_payload_sanitizations", "total_reads_processed", "total_writes_processed", "reply_buffer_shrinks",
        "reply_buffer_expands",
    },
}  # fmt: skip
OURS_ALONE = {
    "Server": {"kvserver_version", "kvserver_build", "python_version"},
    "Persistence": {
        "rdb_last_bgsave_error", "medium_size", "medium_frames", "medium_poisoned", "compaction_in_progress", "compactions",
        "aof_last_write_error", "aof_segments", "aof_pending_bytes", "aof_syncs", "aof_delayed_writes",
        "aof_last_load_records",
    },
}  # fmt: skip
# Redis has these only while its append-only file is on.
WITH_A_JOURNAL = {
    "aof_current_size", "aof_base_size", "aof_pending_rewrite", "aof_buffer_length", "aof_delayed_fsync",
    "aof_pending_bio_fsync",
}  # fmt: skip


def names_of(text: bytes) -> dict[str, list[str]]:
    """The names of the fields by section, in order."""
    found: dict[str, list[str]] = {}
    for line in text.decode().split("\r\n"):
        if line.startswith("# "):
            fields = found.setdefault(line[2:], [])
        elif line:
            fields.append(line.partition(":")[0])
    return found


def test_fields_are_those_of_redis_and_in_its_order(redis_oracle: ServerProcess) -> None:
    redis_oracle.once("SET", "k", "v")
    theirs = names_of(parse(redis_oracle.once("INFO", "everything")))
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v")
    reply = run(session, "INFO", "everything")
    assert isinstance(reply, Verbatim)
    ours = names_of(reply)
    assert list(ours) == list(theirs) == list(SECTIONS)
    for title in SECTIONS.keys() - {"Commandstats", "Errorstats", "Latencystats"}:
        missing = set(theirs[title]) - set(ours[title])
        assert missing == NOT_HERE.get(title, set()), title
        more = set(ours[title]) - set(theirs[title]) - WITH_A_JOURNAL
        assert more == OURS_ALONE.get(title, set()), title
        common = set(ours[title]) & set(theirs[title])
        assert [name for name in ours[title] if name in common] == [name for name in theirs[title] if name in common], title


def test_calls_errors_and_times_are_told_of_the_commands_that_had_some() -> None:
    server = Server()
    usages = server.table.usages
    usages.executed += [b"GET"] * 3 + [b"SET"]
    usages.by_name[b"get"].durations_ns += [2_000, 4_000]
    usages.by_name[b"del"].rejected = 1
    usages.count_error("WRONGTYPE x")
    fields = info(server, "commandstats", "errorstats", "latencystats")
    assert fields == {
        "cmdstat_del": "calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0",
        "cmdstat_get": "calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=0",
        "cmdstat_set": "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
        "errorstat_WRONGTYPE": "count=1",
        "latency_percentiles_usec_get": "p50=2.047,p99=4.095,p99.9=4.095",
    }
    server.state.config.set([(b"latency-tracking-info-percentiles", b"12.5")])
    assert info(server, "latencystats")["latency_percentiles_usec_get"] == "p12.5=2.047"


def test_without_latency_tracking_no_latencies_are_told() -> None:
    server = Server()
    server.table.usages.executed += [b"GET"]
    server.table.usages.by_name[b"get"].durations_ns += [2_000]
    for value, is_told in ((b"no", False), (b"yes", True)):
        server.state.config.set([(b"latency-tracking", value)])
        assert ("latency_percentiles_usec_get" in info(server, "latencystats")) is is_told
        assert bool(run(server.session(), "LATENCY", "HISTOGRAM", "get")) is is_told
        assert info(server, "commandstats")["cmdstat_get"].startswith("calls=1,")
