"""The names of files beside a medium: what each tells, and which are none of its own."""

from __future__ import annotations

import pytest

from kvserver.media.medium import Aside
from kvserver.media.names import is_segment, segment_name, segment_path

MEDIUM = "/a/dump.kvs"
SEGMENT = "/a/dump.kvs.0000000012.journal"


def test_segment_tells_its_number() -> None:
    assert segment_path(MEDIUM, 12) == SEGMENT
    assert segment_name(MEDIUM, SEGMENT) == (12, "")


@pytest.mark.parametrize("reason", Aside)
@pytest.mark.parametrize("count", ["", ".1", ".23"])
def test_segment_that_was_put_aside_tells_why(reason: str, count: str) -> None:
    assert segment_name(MEDIUM, f"{SEGMENT}.{reason}{count}") == (12, reason)


@pytest.mark.parametrize("name", [SEGMENT, f"{SEGMENT}.unlinked", f"{SEGMENT}.dropped-earlier.2", "copy.journal"])
def test_segment_is_known_by_its_end(name: str) -> None:
    assert is_segment(name)


@pytest.mark.parametrize("name", [MEDIUM, f"{MEDIUM}.foreign", "my.journal.kvs", "journal", f"{SEGMENT}.damaged-12"])
def test_other_files_are_not_taken_for_segments(name: str) -> None:
    assert not is_segment(name)


@pytest.mark.parametrize(
    "name", ["dump.kvs", "dump.kvs.12.journal", "other.kvs.0000000012.journal", "dump.kvs.00000000x2.journal", "dump.kvs.new"]
)
def test_other_names_are_no_segments(name: str) -> None:
    assert segment_name(MEDIUM, f"/a/{name}") is None
