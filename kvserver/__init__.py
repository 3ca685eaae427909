"""kvserver: a persistent key-value server that any Redis client can use, and the same store as a Python library."""

from kvserver.errors import KVServerError, MediumError, MediumLocked, MediumPoisoned
from kvserver.media.file import FileMedium
from kvserver.media.memory import MemoryMedium
from kvserver.operations import run_operations
from kvserver.store import KVStore

__version__ = "0.1.0"

__all__ = [
    "FileMedium",
    "KVServerError",
    "KVStore",
    "MediumError",
    "MediumLocked",
    "MediumPoisoned",
    "MemoryMedium",
    "run_operations",
]
