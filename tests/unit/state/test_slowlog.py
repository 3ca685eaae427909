"""The newest entries of the slow log stay, and none of them is big."""

from __future__ import annotations

from kvserver.state.slowlog import SlowLog, shortened


def add(log: SlowLog, *words: bytes, keep: int = 3) -> None:
    log.add(list(words), 1, 2, "127.0.0.1:1", b"me", keep)


def test_newest_come_first_and_the_oldest_go() -> None:
    log = SlowLog()
    for number in range(5):
        add(log, b"%d" % number)
    assert [(entry.id, entry.words) for entry in log.newest(None)] == [(4, [b"4"]), (3, [b"3"]), (2, [b"2"])]
    assert [entry.id for entry in log.newest(2)] == [4, 3]
    assert log.newest(0) == []
    log.keep(1)
    assert len(log) == 1


def test_numbers_go_on_after_a_reset() -> None:
    log = SlowLog()
    add(log, b"a")
    log.reset()
    assert len(log) == 0
    add(log, b"b")
    assert log.newest(None)[0].id == 1


def test_log_of_no_length_keeps_nothing() -> None:
    log = SlowLog()
    add(log, b"a", keep=0)
    assert len(log) == 0


def test_many_and_long_words_are_shortened_as_redis_does() -> None:
    assert shortened([b"x"] * 32) == [b"x"] * 32
    assert shortened([b"x"] * 33) == [b"x"] * 31 + [b"... (2 more arguments)"]
    assert shortened([b"y" * 128, b"y" * 130]) == [b"y" * 128, b"y" * 128 + b"... (2 more bytes)"]
