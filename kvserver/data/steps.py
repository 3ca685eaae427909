"""Work in steps: a generator that yields where others may have their turn, and returns the result. Pure.

A step takes some hundred microseconds at most.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

Steps = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """Take all steps, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


def giving(item: U, steps: Steps[T]) -> Generator[U, None, T]:
    """Yield this item at each step, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield item
