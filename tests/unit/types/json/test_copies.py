"""Several places get equal values, each its own, and none that would be too deep or too long."""

from __future__ import annotations

from typing import Any

import pytest

from kvserver.data.steps import at_once
from kvserver.errors import CommandError
from kvserver.formats.codec import MAX_DEPTH
from kvserver.state.session import Session
from kvserver.types.json.copies import Copies, check_depth, depth_of
from kvserver.types.json.work import Work


def test_copies_are_equal_and_independent(session: Session) -> None:
    values: list[Any] = [{"a": [1, {"b": None}]}, "x"]
    session.server.config.proto_max_bulk_len = 30
    copies = Copies(session, values, [b'{"a":[1,{"b":null}]}', b'"x"'])
    first, second = at_once(copies.take()), at_once(copies.take())
    assert first == second == values
    first[0]["a"][1]["b"] = 2
    assert second == [{"a": [1, {"b": None}]}, "x"]
    with pytest.raises(CommandError, match="proto-max-bulk-len"):
        at_once(copies.take())


def test_depth() -> None:
    values: list[Any] = [1, "x", [], {}, [[]], {"a": [1, {"b": []}]}]
    assert [at_once(depth_of([value], Work())) for value in values] == [0, 0, 1, 1, 2, 4]
    assert at_once(depth_of(values, Work())) == 4
    check_depth(("a",) * (MAX_DEPTH - 2), 1)
    with pytest.raises(CommandError, match="recursion limit"):
        check_depth(("a",) * (MAX_DEPTH - 1), 1)
