"""Redis's words for the use of a key say which rights are needed."""

from __future__ import annotations

import pytest

from kvserver.acl.guarded import READ, WRITE, need_of


@pytest.mark.parametrize(
    ("words", "need"),
    [
        ("RO access", READ),
        ("RO", 0),
        ("RW", 0),
        ("OW insert", WRITE),
        ("OW update", WRITE),
        ("RM delete", WRITE),
        ("RW access update", READ | WRITE),
    ],
)
def test_words_say_what_is_needed(words: str, need: int) -> None:
    assert need_of(tuple(words.split())) == need
