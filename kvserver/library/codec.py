"""Codecs: the bytes that a Cache keeps for a value, where these are not JSON.

Without a codec a value is JSON, and stands in the frames as JSON that anyone can read. A codec is an object of the caller's,
such as `msgspec.msgpack`; what it gives is kept as a string, which a server answers to GET. Nothing here knows a format, and
there is no pickle: who can write the files could run any code by that.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from kvserver.errors import CodecError

T = TypeVar("T")


class Codec(Protocol[T]):
    """A way from values to bytes and back: any object, module or class with these two functions.

    >>> import kvserver, zlib
    >>> class Packed:
    ...     def encode(self, value: str) -> bytes:
    ...         return zlib.compress(value.encode())
    ...     def decode(self, data: bytes) -> str:
    ...         return zlib.decompress(data).decode()
    >>> with kvserver.Cache(codec=Packed()) as cache:
    ...     cache.set("page", "<p>" * 1000)
    ...     cache.get("page")[:9]
    '<p><p><p>'
    """

    def encode(self, value: T, /) -> bytes:
        """The bytes of a value. Whatever it raises, nothing is stored."""

    def decode(self, data: bytes, /) -> T:
        """A new value, of bytes that `encode` gave."""


def encoded(codec: Codec[T], key: str, value: T) -> bytes:
    """The bytes of the value of a key. CodecError if the codec fails, or gives what is no bytes."""
    try:
        data: object = codec.encode(value)
    except Exception as error:
        raise CodecError(f"the codec can't encode the value of {key!r}: {_told(error)}") from error
    if isinstance(data, bytes):
        # A subclass of bytes may be another kind of value.
        return data if type(data) is bytes else bytes(data)
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise CodecError(f"the codec gives {type(data).__name__}, not bytes, for the value of {key!r}")


def decoded(codec: Codec[T], key: str, data: bytes) -> T:
    """The value of a key, of its bytes. CodecError if the codec fails."""
    try:
        return codec.decode(data)
    except Exception as error:
        raise CodecError(f"the codec can't decode the value of {key!r}: {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
