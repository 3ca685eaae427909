"""effect: what handlers ask for is data, equal where it says the same, and as strict as a dataclass."""

from __future__ import annotations

from typing import Any

import pytest

from kvserver.commands.effect import Close, Load, Save, Shutdown, Sleep


def test_effects_are_equal_where_kind_and_values_are() -> None:
    assert Save() == Save()
    assert Shutdown(True, force=False) == Shutdown(save=True, force=False)
    assert hash(Sleep(1.0)) == hash(Sleep(seconds=1.0))
    assert Sleep(1.0) != Sleep(2.0)
    assert Save() != Load()
    assert Close(()) == Close((), warning="") != Close((), "x")


def test_effects_show_and_give_their_values() -> None:
    assert repr(Shutdown(None, force=True)) == "Shutdown(save=None, force=True)"
    match Close((1,)):
        case Close(replies, warning):
            assert (replies, warning) == ((1,), "")


@pytest.mark.parametrize(("values", "by_name"), [((), {}), ((1.0, 2.0), {}), ((1.0,), {"seconds": 1.0}), ((), {"hours": 1.0})])
def test_effect_takes_just_its_values(values: tuple[Any, ...], by_name: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Sleep(*values, **by_name)
