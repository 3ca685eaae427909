"""Functions that are memoized without a cache of their own share one in memory, and no results."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import kvserver
from kvserver.library import own_cache as own_cache_module
from kvserver.library.own_cache import own_cache


def test_examples() -> None:
    assert doctest.testmod(own_cache_module).attempted
    assert not doctest.testmod(own_cache_module).failed


def test_functions_of_one_name_do_not_share_results() -> None:
    def made(result: int) -> Callable[[], int]:
        @kvserver.memoize
        def same() -> int:
            return result

        return same

    one, other = made(1), made(2)
    assert (one(), other(), one()) == (1, 2, 1)


def test_results_are_in_one_cache_which_has_a_limit() -> None:
    @kvserver.memoize(ttl=60)
    def answer() -> int:
        return 42

    assert answer() == 42
    assert own_cache() is own_cache()
    assert own_cache().peek(answer.cache_key()) == 42
    assert 59 < (own_cache().ttl(answer.cache_key()) or 0) <= 60
