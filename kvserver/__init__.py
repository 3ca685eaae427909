"""kvserver: a persistent key-value server in Python that any Redis client can use, and the same store as a Python library.

The library's names are imported when a program first asks for one: Python runs this module before every other module of the
package, and a server need not wait for the import of a library that it doesn't use.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "FileMedium",
    "KVServerError",
    "KVStore",
    "MediumError",
    "MediumLocked",
    "MediumPoisoned",
    "MemoryMedium",
    "ServerFolder",
    "run_operations",
]

if TYPE_CHECKING:
    from kvserver.library import (
        FileMedium,
        KVServerError,
        KVStore,
        MediumError,
        MediumLocked,
        MediumPoisoned,
        MemoryMedium,
        ServerFolder,
        run_operations,
    )
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from kvserver import library

        return getattr(library, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
