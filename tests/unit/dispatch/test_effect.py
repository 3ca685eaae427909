"""An effect is data: it is equal to another that says the same, and shows its values."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from kvserver.dispatch.effect import Close, Effect, Load, Save, Shutdown, Sleep


def test_effects_are_equal_where_kind_and_values_are() -> None:
    assert Save() == Save()
    assert Shutdown(True, force=False) == Shutdown(save=True, force=False)
    assert Sleep(1.0) == Sleep(seconds=1.0)
    assert Sleep(1.0) != Sleep(2.0)
    assert Save() != Load()
    assert Close(()) == Close((), warning="") != Close((), "x")


def test_effects_show_and_give_their_values() -> None:
    assert repr(Shutdown(None, force=True)) == "Shutdown(save=None, force=True)"
    match Close((1,)):
        case Close(replies, warning):
            assert (replies, warning) == ((1,), "")


@pytest.mark.parametrize("effect", get_args(Effect), ids=lambda effect: effect.__name__)
def test_effect_gives_a_match_all_its_values_in_their_order(effect: Any) -> None:
    names = getattr(effect, "__match_args__", ())
    assert list(vars(effect(*names)).items()) == [(name, name) for name in names]
