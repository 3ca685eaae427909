"""The keys of a KVStore: str to the bytes that a keyspace has, and back. Pure.

A lone surrogate has no UTF-8. In a folder such a str is the name of a server's key that is not UTF-8, as Python names such
files (surrogateescape); in a frame of plain JSON that was written elsewhere, it is a key itself (surrogatepass). A str that no
key comes back as is the name of none.
"""

from __future__ import annotations

from typing import Final


class _Nobody(bytes):
    """The bytes of no key, which are found nowhere."""

    __slots__ = ()
    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return False


_NOBODY: Final = _Nobody()


class Keys:
    """The keys of a store; `takes_bytes`: a server's keys, any bytes, may be among them."""

    def __init__(self, takes_bytes: bool) -> None:
        self._takes_bytes = takes_bytes
        self._surrogates = "surrogateescape" if takes_bytes else "surrogatepass"

    def to_write(self, key: str) -> bytes:
        """The bytes of a key that is to be stored.

        TypeError if it is no str, ValueError if it has a lone surrogate, unless it is the name of a server's key.
        """
        try:
            return key.encode()
        except UnicodeEncodeError:
            name = self._escaped(key) if self._takes_bytes else None
            if name is None:
                raise
            return name
        except AttributeError:
            raise _no_str(key) from None

    def to_find(self, key: str) -> bytes:
        """The bytes of a key that is looked for: those of no key if none can have this name. TypeError if it is no str."""
        try:
            return key.encode()
        except UnicodeEncodeError:
            name = self._escaped(key)
            return _NOBODY if name is None else name
        except AttributeError:
            raise _no_str(key) from None

    def _escaped(self, key: str) -> bytes | None:
        """The bytes of which this str, which is no UTF-8, is the name, or None if there are none."""
        try:
            name = key.encode("utf-8", self._surrogates)
        except UnicodeEncodeError:
            return None
        # Surrogates may stand for bytes that are UTF-8: these come back as another str.
        return name if self.text(name) == key else None

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
