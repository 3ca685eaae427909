"""The keys of a KVStore: str to the bytes that a keyspace has, and back. Pure.

A lone surrogate has no UTF-8. In a folder such a str is the name of a server's key that is not UTF-8, as Python names such
files (surrogateescape); in a frame of plain JSON that was written elsewhere, it is a key itself (surrogatepass).
"""

from __future__ import annotations


class Keys:
    """The keys of a store; `takes_bytes`: a server's keys, any bytes, may be among them."""

    def __init__(self, takes_bytes: bool) -> None:
        self._takes_bytes = takes_bytes
        self._surrogates = "surrogateescape" if takes_bytes else "surrogatepass"

    def to_write(self, key: str) -> bytes:
        """The bytes of a key that is to be stored. TypeError if it is no str, ValueError if it has a lone surrogate."""
        try:
            return key.encode()
        except UnicodeEncodeError:
            if not self._takes_bytes:
                raise
            return key.encode("utf-8", self._surrogates)
        except AttributeError:
            raise _no_str(key) from None

    def to_find(self, key: str) -> bytes:
        """The bytes of a key that is looked for. TypeError if it is no str."""
        try:
            return key.encode()
        except UnicodeEncodeError:
            try:
                return key.encode("utf-8", self._surrogates)
            except UnicodeEncodeError:
                # No key of a server has this name.
                return key.encode("utf-8", "surrogatepass")
        except AttributeError:
            raise _no_str(key) from None

    def text(self, name: bytes) -> str:
        """The key of these bytes."""
        return name.decode("utf-8", self._surrogates)

    def texts(self, names: list[bytes]) -> list[str]:
        """The keys of many."""
        try:
            # Measured: half the time.
            return list(map(bytes.decode, names))
        except UnicodeDecodeError:
            return list(map(self.text, names))


def _no_str(key: object) -> TypeError:
    return TypeError(f"keys must be str, not {type(key).__name__}")
