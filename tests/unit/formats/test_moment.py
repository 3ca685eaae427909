"""Texts that name moments, and those that name none."""

from __future__ import annotations

import pytest

from kvserver.errors import HistoryError
from kvserver.formats.moment import AtFrame, AtRecord, AtTime, Moment, parse_moment, show_time

NOW_MS = 1_700_000_000_123


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1699999999999", AtTime(1_699_999_999_999)),
        ("(1699999999999", AtTime(1_699_999_999_998)),
        (str(NOW_MS), AtTime(NOW_MS)),
        ("0", AtTime(0)),
        ("0ms", AtTime(NOW_MS)),
        ("15m", AtTime(NOW_MS - 900_000)),
        ("-15m", AtTime(NOW_MS - 900_000)),
        ("2h", AtTime(NOW_MS - 7_200_000)),
        ("(1d", AtTime(NOW_MS - 86_400_001)),
        ("999999999999d", AtTime(0)),
        ("2023-11-14", AtTime(1_699_920_000_000)),
        ("2023-11-14T22:13:20Z", AtTime(1_700_000_000_000)),
        ("2023-11-14 22:13:20.120", AtTime(1_700_000_000_120)),
        ("2023-11-14T23:13:20.5+01:00", None),
        ("2023-11-14T23:13:20+01:00", AtTime(1_700_000_000_000)),
        ("7:1033", AtRecord(7, 1033)),
        ("(7:1033", AtRecord(7, 1032)),
        ("(7:0", AtRecord(7, -1)),
        ("0123456789abcdef", AtFrame("0123456789abcdef")),
        ("1234567890123456", AtFrame("1234567890123456")),
        ("ab" * 32, AtFrame("ab" * 32)),
    ],
)
def test_moment_is_read(text: str, moment: Moment | None) -> None:
    if moment is None:
        with pytest.raises(HistoryError, match="is yet to come"):
            parse_moment(text, NOW_MS)
    else:
        assert parse_moment(text, NOW_MS) == moment


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "(",
            "now",
            "+5",
            " 5",
            "5 ",
            "1_0",
            "15x",
            "m",
            "7:",
            ":7",
            "7:-1",
            "2023-13-01",
            "2023-W01",
            "abc",
            "٣",
            "1e3",
        ),
        *("0123456789ABCDEF", "((5", "2023-11-14T25:00:00Z", "9" * 16 + "m", "1:" + "9" * 16),
    ],
)
def test_text_that_names_no_moment_is_refused(text: str) -> None:
    with pytest.raises(HistoryError, match=r"no moment|no such time"):
        parse_moment(text, NOW_MS)


def test_time_that_is_yet_to_come_is_refused() -> None:
    with pytest.raises(HistoryError, match="1700000000124 is yet to come"):
        parse_moment(str(NOW_MS + 1), NOW_MS)


def test_nothing_is_right_before_a_frame() -> None:
    with pytest.raises(HistoryError, match="a frame is a moment itself"):
        parse_moment("(0123456789abcdef", NOW_MS)


def test_time_is_shown_as_it_is_read() -> None:
    assert show_time(NOW_MS) == "2023-11-14T22:13:20.123Z"
    assert parse_moment(show_time(NOW_MS), NOW_MS) == AtTime(NOW_MS)


def test_time_that_iso_8601_does_not_know_is_shown_as_it_is() -> None:
    assert show_time(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"
    assert show_time(2**63 - 1) == str(2**63 - 1)
