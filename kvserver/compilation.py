"""The words for mypyc beside the types of what it compiles. Interpreted they mean nothing, and need no package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    T = TypeVar("T", bound=type)

    def mypyc_attr(**_: bool) -> Callable[[T], T]:
        """Leave a class as it is."""
        return lambda kind: kind
