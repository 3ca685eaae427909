"""MEMORY USAGE tells the bytes that maxmemory counts for a key, and MEMORY STATS and DOCTOR report on the process."""

from __future__ import annotations

from typing import Any

from helpers.sessions import Server, run
from kvserver.commands.memory import LITTLE_BYTES
from kvserver.data.footprint import EMPTY_BYTES
from kvserver.formats.codec import JSONText
from kvserver.state.statistics import ProcessFacts


def test_usage_of_all_keys_adds_up_to_what_is_used() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "a", "x" * 100)
    run(session, "SET", "long key " * 10, "", "EX", 100)
    server.keyspace.set(b"json", JSONText(b"[1]"))
    keys: Any = run(session, "KEYS", "*")
    sizes: list[Any] = [run(session, "MEMORY", "USAGE", key, "SAMPLES", 3) for key in keys]
    assert sum(sizes) + EMPTY_BYTES == server.state.memory.used_bytes


def test_expired_key_takes_nothing() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v", "PX", 1)
    server.clock.now_ms += 1
    assert run(session, "MEMORY", "USAGE", "k") is None


def test_stats_are_those_of_the_process_and_its_data() -> None:
    server = Server()
    session = server.session()
    server.state.process_facts = lambda: ProcessFacts(rss_bytes=1_000_000, peak_rss_bytes=2_000_000)
    run(session, "SET", "k", "v")
    stats: Any = run(session, "MEMORY", "STATS")
    assert stats[b"keys.count"] == 1
    assert stats[b"dataset.bytes"] + stats[b"overhead.total"] == stats[b"total.allocated"] == 1_000_000
    assert stats[b"peak.percentage"] == 50
    assert run(session, "MEMORY", "STATS") == stats
    server.state.process_facts = ProcessFacts
    # There are statistics even if the system tells nothing.
    assert run(session, "MEMORY", "STATS")


def test_doctor_sees_a_peak_where_there_is_data() -> None:
    server = Server()
    session = server.session()
    server.keyspace.set(b"k", b"x" * LITTLE_BYTES)
    server.state.process_facts = lambda: ProcessFacts(rss_bytes=10, peak_rss_bytes=15)
    assert b"can't find any memory issue" in bytes(run(session, "MEMORY", "DOCTOR"))  # type: ignore[arg-type]
    server.state.process_facts = lambda: ProcessFacts(rss_bytes=10, peak_rss_bytes=16)
    assert b"Peak memory" in bytes(run(session, "MEMORY", "DOCTOR"))  # type: ignore[arg-type]
