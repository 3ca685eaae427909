"""The keys and values that a benchmark stores.

Owns their spelling and the filling of an empty server. Keys are spelled as redis-benchmark spells them. Must never
measure: filling is preparation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.control import Control
from bench.failure import BenchFailed
from bench.request import encode_request

KEY_PREFIX, COUNTER_PREFIX = b"key:", b"counter:"
# These are letters and digits only: escapes in JSON would measure the escaping instead of the store, and echo counts the marks
# of RESP.
FILLER = b"abcdefghijklmnopqrstuvwxyz0123456789"
# A request of the filling has so many bytes of keys and values at most: enough to keep the server busy, few enough to fit in
# socket buffers on either side.
FILL_BYTES = 50_000


class FillFailed(BenchFailed):
    """The server does not hold what was sent to it."""


@dataclass(frozen=True)
class Dataset:
    """A number of keys with their values: all keys have one length, all values another. An index names a key and its value."""

    keys: int
    value_bytes: int = 64
    key_bytes: int = len(KEY_PREFIX) + 12

    def __post_init__(self) -> None:
        if self.keys < 1 or self.value_bytes < 1:
            raise ValueError("a data set needs at least one key and one byte of value")
        if self.key_bytes < len(KEY_PREFIX) + len(str(self.keys - 1)):
            raise ValueError(f"{self.keys} different keys do not fit in {self.key_bytes} bytes each")

    def key(self, index: int) -> bytes:
        return KEY_PREFIX + b"%0*d" % (self.key_bytes - len(KEY_PREFIX), index)

    def value(self, index: int) -> bytes:
        # Each value differs, so that no server can share or compress what a real client would not repeat.
        head = b"%d:" % index
        return (head + FILLER * (self.value_bytes // len(FILLER) + 1))[: self.value_bytes]

    def set_request(self, index: int, version: int = 0) -> bytes:
        return encode_request(b"SET", self.key(index), self.value(index + version))

    def get_request(self, index: int) -> bytes:
        return encode_request(b"GET", self.key(index))

    def incr_request(self, index: int) -> bytes:
        return encode_request(b"INCR", COUNTER_PREFIX + b"%0*d" % (self.key_bytes - len(KEY_PREFIX), index))

    def mset_request(self, indexes: Sequence[int]) -> bytes:
        pairs = [part for index in indexes for part in (self.key(index), self.value(index))]
        return encode_request(b"MSET", *pairs)

    def fill(self, control: Control, others: int = 0) -> None:
        """Store all keys in a server that has so many others. FillFailed if it does not hold them then."""
        is_first = True
        for request in self._mset_requests():
            control.send(request)
            # The reply to the request before this one is read only now: the server works on one while the next is encoded.
            if not is_first:
                control.receive()
            is_first = False
        control.receive()
        stored = control.call("DBSIZE")
        if stored != self.keys + others:
            raise FillFailed(f"filled {self.keys} keys beside {others}, but the server says it has {stored}")

    def _mset_requests(self) -> Iterator[bytes]:
        step = max(1, FILL_BYTES // (self.key_bytes + self.value_bytes))
        for start in range(0, self.keys, step):
            yield self.mset_request(range(start, min(start + step, self.keys)))
