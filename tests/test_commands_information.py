"""information: INFO of a state that is set by hand."""

from __future__ import annotations

import pytest
from sessions import Server, run

from kvserver.commands.information import SECTIONS, human
from kvserver.resp.reply import Verbatim
from kvserver.session import ProcessFacts


def info(server: Server, *sections: str) -> dict[str, str]:
    reply = run(server.session(), "INFO", *sections)
    assert isinstance(reply, Verbatim)
    assert b"\n" not in reply.replace(b"\r\n", b"")
    lines = reply.decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))


def titles(server: Server, *sections: str) -> list[str]:
    reply = run(server.session(), "INFO", *sections)
    assert isinstance(reply, Verbatim)
    return [line[2:] for line in reply.decode().split("\r\n") if line.startswith("# ")]


def test_sections_are_those_that_are_asked_for() -> None:
    server = Server()
    assert titles(server) == titles(server, "ALL") == titles(server, "everything") == list(SECTIONS)
    assert titles(server, "cpu", "Server", "nonsense") == ["Server", "CPU"]
    assert titles(server, "nonsense") == []


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
    assert info(server)["db0"].startswith("keys=1,")


def test_facts_of_the_process_are_shown() -> None:
    server = Server()
    server.state.process_facts = lambda: ProcessFacts(rss_bytes=1_536 * 1024, peak_rss_bytes=5, process_id=42)
    fields = info(server)
    assert fields["used_memory"] == str(1_536 * 1024)
    assert fields["used_memory_human"] == "1.50M"
    assert fields["process_id"] == "42"


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
