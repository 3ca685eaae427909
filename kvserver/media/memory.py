"""A medium in memory: for tests, and for stores that need no file. Lost with the process, never damaged."""

from __future__ import annotations

from collections.abc import Iterator

from kvserver.media.medium import COPY_BYTES, GatheredFrame


class MemoryMedium:
    """A medium in memory that starts with `data`."""

    poisoned = ""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)
        self.asides: list[bytes] = []  # what `set_aside` copied, in order

    def prove(self) -> None:
        """Nothing: memory has no place that others could change."""

    def prove_place(self) -> None:
        """Nothing, for the same reason."""

    def append(self, data: bytes) -> None:
        self._data += data

    def read_all(self) -> bytes:
        return bytes(self._data)

    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])

    def truncate(self, size: int) -> None:
        del self._data[size:]

    def set_aside(self, offset: int, end: int | None = None) -> str:
        self.asides.append(bytes(self._data[offset:end]))
        return f"asides[{len(self.asides) - 1}]"

    def begin_frame(self) -> GatheredFrame:
        return GatheredFrame(self)

    def begin_rewrite(self) -> _MemoryRewrite:
        return _MemoryRewrite(self)

    def close(self) -> None:
        """Nothing to let go of; the data stays readable."""

    def _take_over(self, other: MemoryMedium) -> None:
        self._data = other._data


class _MemoryRewrite:
    def __init__(self, old: MemoryMedium) -> None:
        self._old = old
        self._new = MemoryMedium()
        self._frame = GatheredFrame(self._new)

    def copy(self, offset: int, length: int) -> Iterator[bytes]:
        for position in range(offset, offset + length, COPY_BYTES):
            piece = self._old.read(position, min(COPY_BYTES, offset + length - position))
            self._new.append(piece)
            yield piece

    def write(self, data: bytes) -> None:
        self._frame.write(data)

    def commit(self, header: bytes | None) -> None:
        if header is not None:
            self._frame.commit(header)
        self._old._take_over(self._new)

    def abort(self) -> None:
        self._frame.abort()
