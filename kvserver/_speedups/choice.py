"""The choice between a leaf in C and its twin in Python, made once, when the process starts.

The twins run where no compiler was at hand at the installation, where what was compiled is not for these twins, but for those
of another version, and wherever the environment has KVSERVER_PURE.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

PURE_VARIABLE: Final = "KVSERVER_PURE"


def digest_of_twins() -> str:
    """The SHA-256 (hex) of the files in Python of this folder, which tells what was compiled beside them."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


compiled: ModuleType | None = None
if not os.environ.get(PURE_VARIABLE):
    try:
        # The name is bound by its own statement, since a module in C is not there everywhere.
        from kvserver._speedups import _compiled

        if digest_of_twins() == _compiled.TWINS:
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
