"""PastFolder: the history of a folder, read by a program. (persistence/test_past has what a moment's data is.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.histories import NAME, WrittenHistory, put
from kvserver.errors import HistoryError
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
