"""The changes of a key: which records are told, of which database, in which order, and how many."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.histories import WrittenHistory, put
from kvserver.errors import HistoryError
from kvserver.persistence.changes import Change
from kvserver.resp.request import Request

SELECT_3, SELECT_0 = [b"SELECT", b"3"], [b"SELECT", b"0"]


def words(change: Change) -> tuple[str, int, list[bytes]]:
    return change.id, change.time_ms, [b" ".join(request) for request in change.requests]


@pytest.fixture
def history(tmp_path: Path) -> WrittenHistory:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(
        *(1, (110, [put("a", "1")]), (120, [put("b", "a")]), (130, [put("a", "2"), put("c", "1"), [b"APPEND", b"a", b"x"]])),
        linked="0" * 64,
    )
    history.segment(
        2,
        (210, [SELECT_3, put("a", "in 3"), [b"MOVE", b"c", b"0"], [b"COPY", b"a", b"c2", b"DB", b"0", b"REPLACE"], SELECT_0]),
        (220, [[b"del", b"a"]]),
    )
    history.segment(4, (410, [[b"FLUSHDB"]]), (420, [SELECT_3, [b"FLUSHDB"], SELECT_0]), (430, [[b"SWAPDB", b"0", b"3"]]))
    history.segment(5, (510, [[b"MSET", b"b", b"1", b"a", b"2"]]), (520, [[b"FLUSHALL"]]), is_live=True)
    return history


def test_changes_are_told_the_newest_first(history: WrittenHistory) -> None:
    assert [words(change) for change in history.read().changes(b"a", 0, 100)] == [
        ("5:2", 520, [b"FLUSHALL"]),
        ("5:1", 510, [b"MSET b 1 a 2"]),
        ("4:3", 430, [b"SWAPDB 0 3"]),
        ("4:1", 410, [b"FLUSHDB"]),
        # A number was left out: the data became another one.
        ("4:0", 410, []),
        ("2:2", 220, [b"del a"]),
        ("1:3", 130, [b"SET a 2", b"APPEND a x"]),
        ("1:1", 110, [b"SET a 1"]),
    ]


def test_changes_are_those_of_one_database(history: WrittenHistory) -> None:
    found = [change.id for change in history.read().changes(b"a", 3, 100)]
    assert found == ["5:2", "4:3", "4:2", "4:0", "2:1"]
    # What moved there was written there.
    assert [change.id for change in history.read().changes(b"c", 0, 100)] == ["5:2", "4:3", "4:1", "4:0", "2:1", "1:3"]
    assert [change.id for change in history.read().changes(b"c2", 0, 100)] == ["5:2", "4:3", "4:1", "4:0", "2:1"]
    assert [change.id for change in history.read().changes(b"c2", 3, 100)] == ["5:2", "4:3", "4:2", "4:0"]


@pytest.mark.parametrize("most", range(1, 9))
def test_no_more_are_told_than_were_asked_for(history: WrittenHistory, most: int) -> None:
    everything = history.read().changes(b"a", 0, 100)
    assert history.read().changes(b"a", 0, most) == everything[:most]


def test_record_of_a_change_is_a_moment(history: WrittenHistory) -> None:
    newest: list[Request] = [[b"SET", b"a", b"2"], [b"APPEND", b"a", b"x"]]
    [change] = [each for each in history.read().changes(b"a", 0, 100) if each.requests == newest]
    assert history.at(change.id) == '{"a":"2x","b":"a","c":"1"}'
    assert history.at(f"({change.id}") == '{"a":"1","b":"a"}'


def test_damage_is_told(history: WrittenHistory) -> None:
    path = history.path / "0000000002.journal"
    path.write_bytes(path.read_bytes()[:-3] + b"xxx")
    with pytest.raises(HistoryError, match="the segment 2 of the journal is damaged"):
        history.read().changes(b"a", 0, 100)
    # What is newer is told without it.
    assert len(history.read().changes(b"a", 0, 4)) == 4


def test_folder_without_a_journal_has_no_changes(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no journal"):
        WrittenHistory(tmp_path).read().changes(b"a", 0, 1)
