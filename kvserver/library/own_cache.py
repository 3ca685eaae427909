"""The cache in memory of all functions that are memoized without one of their own, and `memoize` for these."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from threading import Lock
from typing import Any, Final, ParamSpec, TypeVar, overload

from kvserver.library.cache import Cache
from kvserver.library.forks import mind_forks
from kvserver.library.memoized import Memoized, memoizing

P = ParamSpec("P")
R = TypeVar("R")

_numbers: Final = count(1)


class _OwnCache:
    """Gives the cache of all functions that are memoized without one, which it makes when the first of them is called."""

    def __init__(self) -> None:
        self._cache: Cache[Any] | None = None
        self.after_fork()
        mind_forks(self)

    def after_fork(self) -> None:
        self._lock = Lock()

    def __call__(self) -> Cache[Any]:
        with self._lock:
            if self._cache is None:
                self._cache = Cache()
            return self._cache


own_cache: Final = _OwnCache()


@overload
def memoize(function: Callable[P, R], /) -> Memoized[P, R]: ...


@overload
def memoize(
    *, ttl: float | None = None, key: Callable[..., Any] | None = None
) -> Callable[[Callable[P, R]], Memoized[P, R]]: ...


def memoize(function: Any = None, /, *, ttl: float | None = None, key: Callable[..., Any] | None = None) -> Any:
    """`Cache.memoize` in a cache in memory, which all such functions of the process share: it takes 1 GiB at most.

    >>> import kvserver
    >>> @kvserver.memoize(ttl=60)
    ... def greet(name, greeting="Hello"):
    ...     return f"{greeting}, {name}!"
    >>> greet("Ada"), greet(name="Ada", greeting="Hello")
    ('Hello, Ada!', 'Hello, Ada!')
    >>> greet.forget("Ada")
    True

    Each decorated function has results of its own, even if another one has its name.
    """
    return memoizing(function, own_cache, ttl, key, f"#{next(_numbers)}")
