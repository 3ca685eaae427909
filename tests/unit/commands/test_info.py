"""INFO tells a state that is set by hand, and has the fields of redis-server."""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

import pytest

from helpers.servers import ServerProcess, StartServer, Wire, encode, parse, wait_until
from helpers.sessions import Server, run
from kvserver.commands import info as info_module
from kvserver.commands.info import SECTIONS, human
from kvserver.persistence.schedule import Schedule
from kvserver.resp.reply import Verbatim
from kvserver.state.statistics import ProcessFacts


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
    server.keyspace.records.take()
    assert info(server)["rdb_changes_since_last_save"] == "3"
    server.state.persistence.changes_at_last_save = server.keyspace.records.changes
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

# What Redis tells and this server does not, each with the reason.
NOT_HERE = {
    "Server": {
        "redis_git_sha1": "it is no build of Redis",
        "redis_git_dirty": "the same",
        "redis_build_id": "the same",
        "atomicvar_api": "it is not written in C",
        "gcc_version": "the same",
    },
    "Stats": {
        "expired_stale_perc": "keys that are due are swept by their deadlines, not found by samples from which to guess",
        "expired_time_cap_reached_count": "a sweep has no cap: it goes on in the next slice",
        "expire_cycle_cpu_milliseconds": "expiry and eviction share their slices",
        "total_eviction_exceeded_time": "how long memory was above its limit is not measured",
        "current_eviction_exceeded_time": "the same",
        "total_reads_processed": "to count it would cost at each read",
        "total_writes_processed": "to count it would cost at each write",
    },
    "Persistence": {"aof_pending_bio_fsync": "syncs are not queued: one runs, or none"},
}
NOT_IN_STATS = {
    b"startup.allocated": "what a start took is not told apart",
    b"db.0": "a key and its place in a dict are counted together",
}
OURS_ALONE = {
    "Server": {"kvserver_version", "kvserver_build", "kvserver_leaves", "python_version"},
    "Persistence": {
        "rdb_last_bgsave_error", "medium_size", "medium_frames", "medium_poisoned", "compaction_in_progress", "compactions",
        "aof_last_write_error", "aof_segments", "aof_pending_bytes", "aof_syncs", "aof_delayed_writes",
        "aof_last_load_records",
    },
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


def work(wire: Wire) -> None:
    """Give every section something to tell."""
    wire.command("CONFIG", "RESETSTAT")
    for words in (
        "SET k v EX 1000",
        "GET k",
        "GET none",
        "INCR k",
        "NOSUCH",
        "SUBSCRIBE c",
        "UNSUBSCRIBE c",
        "SAVE",
        "BGREWRITEAOF",
    ):
        wire.send(encode(*words.split()))
        wire.read_reply()
    wait_until(lambda: b"aof_rewrite_in_progress:0" in wire.value("INFO", "persistence"), "the rewrite ends")


def test_fields_are_those_of_redis_and_in_its_order(start_server: StartServer) -> None:
    told = []
    for kind in ("kvserver", "redis-server"):
        with start_server("--appendonly", "yes", "--save", "", kind=kind).connect() as wire:
            work(wire)
            told.append(names_of(wire.value("INFO", "everything")))
    ours, theirs = told
    assert list(ours) == list(theirs) == list(SECTIONS)
    for title in SECTIONS:
        reasons, own = NOT_HERE.get(title, {}), OURS_ALONE.get(title, set())
        assert set(theirs[title]) - set(ours[title]) == reasons.keys(), title
        assert set(ours[title]) - set(theirs[title]) == own, title
        common = [name for name in theirs[title] if name not in reasons]
        # Redis has the fields of these three in the order of a hash.
        if title not in ("Commandstats", "Errorstats", "Latencystats"):
            assert [name for name in ours[title] if name not in own] == common, title


def test_numbers_that_redis_tells_are_numbers_here(start_server: StartServer) -> None:
    """In the same form: whole, with so many digits behind the point, or a word."""
    told = []
    for kind in ("kvserver", "redis-server"):
        with start_server("--appendonly", "yes", "--save", "", kind=kind).connect() as wire:
            work(wire)
            text = wire.value("INFO", "everything").decode()
            told.append(dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line))
    ours, theirs = told
    for name in ours.keys() & theirs.keys() - {"redis_version", "os", "run_id", "master_replid", "mem_allocator"}:
        forms = [re.sub(r"\d+", "9", value).replace("-", "") for value in (ours[name], theirs[name])]
        is_alike = forms[0] == forms[1] or name.endswith("_human") or not forms[1].startswith("9")
        assert is_alike, (name, ours[name], theirs[name])
    assert ours["aof_rewrites"] == theirs["aof_rewrites"] == "1"


def test_stats_of_memory_have_the_names_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    told = []
    for server in (kvserver, redis_oracle):
        server.once("SET", "k", "v")
        told.append(parse(server.once("MEMORY", "STATS"))[::2])
    ours, theirs = told
    assert ours == [name for name in theirs if name not in NOT_IN_STATS]


def test_rewrites_are_counted_and_those_that_failed_in_a_row() -> None:
    server = Server()
    server.state.journal.rewrites, server.state.journal.rewrites_failed = 3, 2
    fields = info(server)
    assert (fields["aof_rewrites"], fields["aof_rewrites_consecutive_failures"]) == ("3", "2")
    run(server.session(), "CONFIG", "RESETSTAT")
    fields = info(server)
    assert (fields["aof_rewrites"], fields["aof_rewrites_consecutive_failures"]) == ("0", "0")


async def test_rewrite_that_fails_is_one_more_in_a_row_until_one_succeeds() -> None:
    server = Server()
    failures = [OSError("full"), OSError("full"), None]

    class Snapshots:
        is_flushing = False

        def start_flush(self) -> asyncio.Task[None]:
            self.flush = asyncio.get_running_loop().create_task(self._flush(failures.pop(0)))
            return self.flush

        async def _flush(self, failure: OSError | None) -> None:
            if failure:
                raise failure

    snapshots, seen = Snapshots(), []
    flushes = Schedule(server.state, cast(Any, snapshots))
    while failures:
        flushes.rewrite(in_transaction=False)
        await asyncio.wait([snapshots.flush])
        fields = info(server)
        seen.append((fields["aof_rewrites"], fields["aof_rewrites_consecutive_failures"]))
    assert seen == [("1", "1"), ("2", "2"), ("3", "0")]


def test_progress_of_a_flush_and_clocks_are_told() -> None:
    server = Server()
    server.state.persistence.flush_keys_done, server.state.persistence.flush_keys_total = 1, 3
    server.state.config.set([(b"hz", b"50")])
    fields = info(server)
    assert (fields["current_fork_perc"], fields["hz"], fields["configured_hz"]) == ("33.33", "10", "50")
    assert fields["lru_clock"] == str(server.clock.now_ms // 1000 & 0xFFFFFF)


def test_calls_errors_and_times_are_told_of_the_commands_that_had_some() -> None:
    server = Server()
    usages = server.state.usages
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
    server.state.usages.executed += [b"GET"]
    server.state.usages.by_name[b"get"].durations_ns += [2_000]
    for value, is_told in ((b"no", False), (b"yes", True)):
        server.state.config.set([(b"latency-tracking", value)])
        assert ("latency_percentiles_usec_get" in info(server, "latencystats")) is is_told
        assert bool(run(server.session(), "LATENCY", "HISTOGRAM", "get")) is is_told
        assert info(server, "commandstats")["cmdstat_get"].startswith("calls=1,")


def titles(text: bytes) -> list[str]:
    return [line[2:] for line in text.decode().split("\r\n") if line.startswith("# ")]


@pytest.mark.parametrize(
    "words", ["", "default", "ALL", "everything", "cpu Server", "nonsense", "nonsense cpu", "default commandstats", "cpu cpu"]
)
def test_sections_are_those_that_redis_gives(redis_oracle: ServerProcess, words: str) -> None:
    reply = run(Server().session(), "INFO", *words.split())
    assert isinstance(reply, Verbatim)
    assert titles(reply) == titles(parse(redis_oracle.once("INFO", *words.split())))


def test_calls_that_came_before_in_the_same_batch_are_counted() -> None:
    server = Server()
    session = server.session()
    before, asking, behind = [b"GET", b"k"], [b"INFO", b"commandstats"], [b"GET", b"k"]
    usages = server.state.usages
    usages.batch = [before, asking, behind]
    usages.remaining = iter(usages.batch)
    assert [next(usages.remaining), next(usages.remaining)] == [before, asking]
    reply = info_module.info.handler(session, asking)
    assert isinstance(reply, Verbatim)
    assert "cmdstat_get:calls=1," in reply.decode()
    assert usages.noted == 1
    again = info_module.info.handler(session, asking)
    assert isinstance(again, Verbatim)
    assert "cmdstat_get:calls=1," in again.decode()
