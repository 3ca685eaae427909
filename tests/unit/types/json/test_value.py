"""Documents have the right form in a journal, a dump and a payload."""

from __future__ import annotations

import pytest

from kvserver.data.kinds import VALUE, kind_of
from kvserver.formats.codec import PIECE_BYTES, JSONText
from kvserver.formats.rdb import dump
from kvserver.types.json.value import DOCUMENT


def test_journal_stores_the_text_and_gives_it_its_expiry_behind() -> None:
    store = [b"JSON.SET", b"k", b"$", b"[1]"]
    assert DOCUMENT.recreation(b"k", JSONText(b"[1]"), None) == [store]
    assert DOCUMENT.recreation(b"k", JSONText(b"[1]"), 5) == [store, [b"PEXPIREAT", b"k", b"5"]]


def test_dump_is_that_of_the_string_of_its_text() -> None:
    assert dump(JSONText(b"12")) == dump(b"12")


@pytest.mark.parametrize("length", [PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_pieces_are_short_and_stand_for_themselves(length: int) -> None:
    value = JSONText(b"1" * length)
    assert kind_of(value) is DOCUMENT
    steps = DOCUMENT.json_steps(value)
    with pytest.raises(StopIteration) as ended:
        next(steps)
    tag, pieces = ended.value.value
    found = list(pieces)
    assert (tag, b"".join(found), max(map(len, found))) == (VALUE, value, min(length, PIECE_BYTES))
