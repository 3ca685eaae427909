"""documentation: it is complete where it says something. (That it is Redis's: test_rows.)"""

from __future__ import annotations

import pytest

from kvserver.dispatch.documentation import DOCUMENTATION


@pytest.mark.parametrize("name", DOCUMENTATION)
def test_entry_says_something_and_all_of_it(name: str) -> None:
    entry = DOCUMENTATION[name]
    assert any(entry)
    assert bool(entry.deprecated[0]) == bool(entry.deprecated[1])
    assert entry.keys or not entry.key_notes
    assert ("key" in entry.arguments) or not entry.keys or entry.keys == "not_key"
