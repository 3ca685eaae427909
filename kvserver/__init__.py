"""kvserver: a persistent key-value server in Python that any Redis client can use, and the same store as a Python library.

The library's names are imported when a program first asks for one: Python runs this module before every other module of the
package, and a server need not wait for the import of a library that it doesn't use.
"""

from typing import TYPE_CHECKING

from kvserver.version import __version__ as __version__

__all__ = [
    "Cache",
    "CacheFull",
    "Codec",
    "CodecError",
    "ConfigError",
    "FileMedium",
    "KVServerError",
    "KVStore",
    "MediumError",
    "MediumLocked",
    "MediumPoisoned",
    "MemoryMedium",
    "NotRunning",
    "Server",
    "ServerFolder",
    "StartError",
    "StoreClosed",
    "StoreReadOnly",
    "StoreReplaced",
    "ValueTooLarge",
    "WrongEventLoop",
    "aio",
    "memoize",
    "run_operations",
    "running",
]

if TYPE_CHECKING:
    from kvserver import aio as aio
    from kvserver.embedded import running
    from kvserver.library import (
        Cache,
        CacheFull,
        Codec,
        CodecError,
        ConfigError,
        FileMedium,
        KVServerError,
        KVStore,
        MediumError,
        MediumLocked,
        MediumPoisoned,
        MemoryMedium,
        NotRunning,
        ServerFolder,
        StartError,
        StoreClosed,
        StoreReadOnly,
        StoreReplaced,
        ValueTooLarge,
        WrongEventLoop,
        run_operations,
    )

    # Of an overloaded function that comes by way of a package in a circle with this one, mypy knows no type.
    from kvserver.library.own_cache import memoize as memoize
    from kvserver.server import Server
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "Server":
            from kvserver.server import Server

            return Server
        if name == "running":
            from kvserver.embedded import running

            return running
        if name == "aio":
            import kvserver.aio

            return kvserver.aio
        from kvserver import library

        return getattr(library, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
