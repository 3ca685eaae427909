"""The choice between a leaf in C and its twin in Python, made once, when the process starts.

The twins run where no compiler was at hand at the installation, and wherever the environment has KVSERVER_PURE.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, TypeVar

PURE_VARIABLE: Final = "KVSERVER_PURE"

compiled: ModuleType | None = None
if not os.environ.get(PURE_VARIABLE):
    try:
        # The name is bound by its own statement, since a module in C is not there everywhere.
        from kvserver._speedups import _compiled

        compiled = _compiled
    except ImportError:
        pass

IS_COMPILED: Final = compiled is not None
# All leaves by their names: the twins.
TWINS: Final[dict[str, Callable[..., Any]]] = {}

Function = TypeVar("Function", bound=Callable[..., Any])


def leaf(twin: Function) -> Function:
    """Declare a leaf over its twin. It is the function of the same name in C, if there is one, and else the twin."""
    TWINS[twin.__name__] = twin
    chosen: Function = getattr(compiled, twin.__name__, twin)
    return chosen
