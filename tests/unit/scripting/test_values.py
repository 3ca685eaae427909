"""Replies become Lua values: as they are in RESP2, and in the tables that stand for RESP3's kinds."""

from __future__ import annotations

from typing import Any

import pytest

from kvserver.resp.reply import NULL_ARRAY, OK, BigNumber, Digits, Error, Pairs, Reply, SetOf, Simple, Verbatim
from kvserver.scripting.values import ARRAY, EMPTY, ERROR, FLAT_ITEMS, STATUS, size_of, to_lua


def table(of: Any) -> Any:
    """A stand-in for Lua's tables: what the table is made of."""
    return ("table", of)


@pytest.mark.parametrize(
    ("reply", "in_resp2", "in_resp3"),
    [
        (b"text", b"text", b"text"),
        (7, 7, 7),
        (None, False, None),
        (NULL_ARRAY, False, None),
        (True, 1, True),
        (OK, (b"OK", STATUS), (b"OK", STATUS)),
        (Simple("QUEUED"), (b"QUEUED", STATUS), (b"QUEUED", STATUS)),
        (Error("ERR no"), (b"ERR no", ERROR), (b"ERR no", ERROR)),
        (1.5, b"1.5", table({b"double": 1.5})),
        (Digits(b"0.1"), b"0.1", table({b"double": 0.1})),
        (BigNumber(b"12"), b"12", table({b"big_number": b"12"})),
        (Verbatim(b"x"), b"x", table({b"verbatim_string": table({b"format": b"txt", b"string": b"x"})})),
        ([], (None, EMPTY), (None, EMPTY)),
        ([b"a", None, 2], (b"a", ARRAY, False, 2), table([b"a", None, 2])),
        ([b"a", 2], (b"a", ARRAY, 2), (b"a", ARRAY, 2)),
        ([[b"a"], OK], (table([b"a"]), ARRAY, table({b"ok": b"OK"})), (table([b"a"]), ARRAY, table({b"ok": b"OK"}))),
    ],
)
def test_reply_becomes_a_value(reply: Reply, in_resp2: object, in_resp3: object) -> None:
    assert to_lua(reply, 2, table) == in_resp2
    assert to_lua(reply, 3, table) == in_resp3


def test_maps_and_sets_are_arrays_in_resp2_and_tables_with_a_name_in_resp3() -> None:
    made: list[Any] = []

    def keep(of: Any) -> int:
        made.append(of)
        return len(made)

    to_lua({b"k": b"v"}, 2, keep)
    to_lua({b"k": b"v"}, 3, keep)
    to_lua(SetOf([b"m"]), 3, keep)
    to_lua(Pairs([[b"k", b"v"]]), 3, keep)
    assert to_lua(SetOf([b"m"]), 2, keep) == (b"m", ARRAY)
    assert made == [[b"k", b"v"], {b"k": b"v"}, {b"map": 2}, {b"m": True}, {b"set": 4}, {b"k": b"v"}, {b"map": 6}]


def test_long_array_goes_over_as_a_table() -> None:
    assert to_lua([b"x"] * FLAT_ITEMS, 2, table) == table([b"x"] * FLAT_ITEMS)


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(TypeError, match="set is no reply"):
        to_lua({1}, 2, table)  # type: ignore[arg-type]


def test_size_counts_every_text() -> None:
    text = b"x" * 1000
    replies: list[Reply] = [text, [text], {b"k": [text]}, Simple("x" * 1000)]
    for reply in replies:
        assert size_of(reply) >= 1000
    assert size_of(5) < 1000
