"""PastFolder: the history of a folder, read by a program. (persistence/test_past has what a moment's data is.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.histories import NAME, WrittenHistory, put
from kvserver.errors import HistoryError
from kvserver.formats.frame import encode_frame
from kvserver.library.past import PastFolder


def test_folder_gives_frames_moments_and_changes(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(1, (110, [put("a", "1")]), is_live=True)
    folder = PastFolder(str(tmp_path), NAME)
    assert [frame.time_ms for frame in folder.frames()] == [100]
    assert folder.at("110").databases[0].peek(b"a") == b"1"
    assert [change.id for change in folder.changes(b"a", 0, 10)] == ["1:1"]


def test_folder_without_a_history_has_no_moments(tmp_path: Path) -> None:
    folder = PastFolder(str(tmp_path), NAME)
    assert folder.frames() == []
    with pytest.raises(HistoryError, match="no history is kept"):
        folder.at("110")


def test_present_is_what_a_start_would_load_where_nothing_was_recorded(tmp_path: Path) -> None:
    folder = PastFolder(str(tmp_path), NAME)
    with pytest.raises(HistoryError, match="no history is kept"):
        folder.at("0s")
    (tmp_path / NAME).write_bytes(encode_frame(b'{"a":"1","gone":{"$kvs":{"expires_at_ms":5,"value":"v"}}}'))
    present = folder.at("0s")
    assert present.databases[0].live(b"a") == b"1"
    assert present.databases[0].live(b"gone") is None
    with pytest.raises(HistoryError, match="no history is kept"):
        folder.at("1ms")
    # A folder that went back, and that no server has used since, has a history that ends before.
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(1, (110, [put("b", "1")]))
    assert folder.at("0s").databases[0].live(b"a") == b"1"
    assert folder.at("110").databases[0].live(b"b") == b"1"
    with pytest.raises(HistoryError, match="the journal has a gap there"):
        folder.at("1ms")


def test_damage_is_no_lack_of_records(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(encode_frame(b'{"a":"1"}'))
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    segment = history.segment(1, (110, [put("b", "1")]), is_live=True)
    segment.write_bytes(segment.read_bytes()[:-1] + b"!" + b"damage")
    with pytest.raises(HistoryError, match="is damaged at offset"):
        PastFolder(str(tmp_path), NAME).at("0s")
