"""One key for all ways to say a call, and different keys for different calls."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import given, settings

from helpers.documents import values
from kvserver.library.calls import CallKeys


def plain(a: Any, b: Any = 2, *, c: Any = None) -> Any: ...


def positional(a: Any, /, b: Any = 2) -> Any: ...


def various(*args: Any, **kwargs: Any) -> Any: ...


NAME = f"{__name__}.plain"


def test_key_is_the_functions_name_and_its_arguments_as_json() -> None:
    assert CallKeys(plain)(1, c="é") == f'{NAME}:{{"a":1,"b":2,"c":"é"}}'


@pytest.mark.parametrize("call", ["1", "a=1", "1, 2", "1, b=2", "b=2, a=1", "1, c=None", "1, 2, c=None", "c=None, b=2, a=1"])
def test_all_ways_to_say_a_call_have_one_key(call: str) -> None:
    keys = CallKeys(plain)
    assert eval(f"keys({call})", {"keys": keys}) == f'{NAME}:{{"a":1,"b":2,"c":null}}'


def test_kinds_of_parameters_that_need_python_to_bind_them() -> None:
    assert CallKeys(positional)(1) == CallKeys(positional)(1, b=2)
    assert CallKeys(various)(1, 2, y=1, x=2) == CallKeys(various)(1, 2, x=2, y=1)
    assert CallKeys(various)(1, 2) != CallKeys(various)(1, x=2)


@pytest.mark.parametrize("call", ["", "1, 2, 3", "1, a=1", "1, d=1", "b=1", "1, 2, b=2"])
def test_call_that_the_function_does_not_take_is_pythons_own_error(call: str) -> None:
    keys: Any = CallKeys(plain)
    with pytest.raises(TypeError, match=r"argument"):
        eval(f"keys({call})", {"keys": keys})


@settings(max_examples=200)
@given(values, values)
def test_different_arguments_have_different_keys(one: Any, other: Any) -> None:
    keys = CallKeys(plain)
    is_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (keys(one) == keys(other)) is is_same


def test_one_and_true_and_one_point_nought_are_three_calls() -> None:
    assert len({CallKeys(plain)(value) for value in (1, True, 1.0, "1")}) == 4


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, b"bytes", {1}, float("nan"), "\ud800"], ids=lambda value: type(value).__name__
)
def test_arguments_that_are_no_json_name_the_function_and_the_way_out(value: Any) -> None:
    with pytest.raises(TypeError, match=r"test_calls\.plain can't be memoized .* `key=`"):
        CallKeys(plain)(value)


def test_key_function_says_what_stands_for_the_arguments() -> None:
    class User:
        id = 7

    def name_of(a: Any, b: Any = 2, *, c: Any = None) -> Any:
        return [a.id, b]

    assert CallKeys(plain, name_of)(User(), b=3) == f"{NAME}:[7,3]"
    with pytest.raises(TypeError, match="what `key=` gives is no JSON"):
        CallKeys(plain, lambda a, b=2, *, c=None: a)(User())


def test_functions_of_one_name_are_told_apart_by_a_suffix() -> None:
    assert CallKeys(plain, suffix="#2")(1) == f'{NAME}#2:{{"a":1,"b":2,"c":null}}'


def test_lambda_has_no_name() -> None:
    with pytest.raises(ValueError, match="lambda"):
        CallKeys(lambda a: a)


def test_partial_function_has_no_name_either() -> None:
    with pytest.raises(ValueError, match="name"):
        CallKeys(functools.partial(plain, 1))


def test_variables_of_the_enclosing_function_are_read_at_the_call() -> None:
    def make(a: Any, b: Any) -> tuple[CallKeys[[]], Any]:
        count = 0

        def inner() -> Any:
            nonlocal count
            count += 1
            return a, b, later

        keys = CallKeys(inner)

        def change(value: Any) -> None:
            nonlocal a
            a = value

        name = f"{__name__}.{inner.__qualname__}"
        assert keys() == f'{name}{{"a":1}}:{{}}'
        later = 5
        assert keys() == f'{name}{{"a":1,"later":5}}:{{}}'
        inner()
        return keys, change

    keys, change = make(1, [2])
    before = keys()
    change("x")
    assert keys() == before.replace('"a":1', '"a":"x"')
    change(float("nan"))
    assert keys() == before.replace('"a":1,', "")


def test_function_with_a_name_that_is_given_needs_none_of_its_own() -> None:
    assert CallKeys(lambda a: a, name="mine")(1) == 'mine:{"a":1}'
    assert CallKeys(functools.partial(plain, 1), name="mine")(b=3) == 'mine:{"b":3,"c":null}'
