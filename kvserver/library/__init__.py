"""The same store without a server, for a Python program that may wait for it: the names that `import kvserver` offers.

All of it blocks. Threads may share a KVStore; a medium or a folder is for one store. It never needs an event loop, and never
opens a socket.
"""

from kvserver.errors import CacheFull as CacheFull
from kvserver.errors import CodecError as CodecError
from kvserver.errors import ConfigError as ConfigError
from kvserver.errors import KVServerError as KVServerError
from kvserver.errors import MediumError as MediumError
from kvserver.errors import MediumLocked as MediumLocked
from kvserver.errors import MediumPoisoned as MediumPoisoned
from kvserver.errors import NotRunning as NotRunning
from kvserver.errors import StartError as StartError
from kvserver.errors import StoreClosed as StoreClosed
from kvserver.errors import StoreReadOnly as StoreReadOnly
from kvserver.errors import StoreReplaced as StoreReplaced
from kvserver.errors import ValueTooLarge as ValueTooLarge
from kvserver.errors import WrongEventLoop as WrongEventLoop
from kvserver.library.cache import Cache as Cache
from kvserver.library.codec import Codec as Codec
from kvserver.library.folder import ServerFolder as ServerFolder
from kvserver.library.operations import run_operations as run_operations
from kvserver.library.own_cache import memoize as memoize
from kvserver.library.store import KVStore as KVStore
from kvserver.media.file import FileMedium as FileMedium
from kvserver.media.memory import MemoryMedium as MemoryMedium
