"""The same store for an asyncio program: calls are coroutines, and none of them makes the program's loop wait for the disk.

async with aio.KVStore("folder", journal=True) as store:
    await store.set("user:1", {"name": "Ada"})
"""

from kvserver.aio.cache import Cache as Cache
from kvserver.aio.cache import memoize as memoize
from kvserver.aio.store import KVStore as KVStore
