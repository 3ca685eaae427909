"""INCREX keeps a counter within its bounds. (wire/cases/bounded_counters.txt has the replies.)"""

from __future__ import annotations

from helpers.sessions import START_MS, Server, run


def test_journal_has_the_result_with_its_time_and_nothing_of_what_was_out_of_bounds() -> None:
    session = Server().session()
    records = session.server.databases.records
    assert run(session, "INCREX", "k", "UBOUND", 0, "EX", 1) == [0, 0]
    assert not records.has_any
    assert run(session, "INCREX", "k", "BYINT", 5, "UBOUND", 3, "SATURATE", "EX", 10) == [3, 3]
    assert records.take() == [[b"SET", b"k", b"3", b"PXAT", b"%d" % (START_MS + 10_000)]]


def test_smallest_step_between_bounds_is_exact() -> None:
    session = Server().session()
    run(session, "SET", "k", "9007199254740993.5")
    reply = run(session, "INCREX", "k", "BYFLOAT", "0.25", "UBOUND", "9007199254740993.75")
    assert reply == [b"9007199254740993.75", b"0.25"]
    assert run(session, "INCREX", "k", "BYFLOAT", "0.25", "UBOUND", "9007199254740993.75") == [b"9007199254740993.75", b"0"]
