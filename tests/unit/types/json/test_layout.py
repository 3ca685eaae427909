"""Lines, indents and spaces between the parts of JSON."""

from __future__ import annotations

import pytest

from kvserver.data.steps import at_once
from kvserver.errors import CommandError
from kvserver.types.json.layout import Layout


def test_layout_stands_between_the_parts_and_in_no_string() -> None:
    layout = Layout(indent=b"_", newline=b"n", space=b"s")
    assert at_once(layout.apply(rb'{"a":[1,"x\",:[{"],"b":{}}', 100)) == rb'{n_"a":s[n__1,n__"x\",:[{"n_],n_"b":s{}n}'
    assert at_once(Layout().apply(b"[1]", 3)) == b"[1]"


def test_text_that_would_be_too_long_is_not_made() -> None:
    layout = Layout(indent=b" " * (1 << 30))
    with pytest.raises(CommandError, match="proto-max-bulk-len"):
        at_once(layout.apply(b"[" * 500 + b"1" + b"]" * 500, 1 << 29))
