"""Texts that say how long a history is kept."""

from __future__ import annotations

import pytest

from kvserver.options.retention import Retention, parse_retention


@pytest.mark.parametrize(
    ("text", "retention"),
    [
        ("0", Retention("0", 0, 0)),
        ("1", Retention("1", 1, 0)),
        ("100", Retention("100", 100, 0)),
        ("30s", Retention("30s", 0, 30_000)),
        ("90M", Retention("90m", 0, 5_400_000)),
        ("12h", Retention("12h", 0, 43_200_000)),
        ("7d", Retention("7d", 0, 604_800_000)),
    ],
)
def test_retention_is_read(text: str, retention: Retention) -> None:
    assert parse_retention(text) == retention
    assert retention.is_any == (text != "0")


@pytest.mark.parametrize("text", ["", "d", "0d", "00", "01", "-1", "+1", "7 d", "7w", "1_0", "7dd", "1" * 10, "yes", "٣"])
def test_text_that_says_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number of frames, or an age such as 12h or 7d"):
        parse_retention(text)
