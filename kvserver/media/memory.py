"""A medium and a log in memory, and a place made of both: for tests, and for stores and servers that need no file.

All of it is lost with the process, and never damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kvserver.errors import MediumError, MediumPoisoned
from kvserver.media.medium import APPLICABLE, COPY_BYTES, Aside, GatheredFrame, Log, Place


class MemoryMedium:
    """A medium in memory that starts with `data`."""

    poisoned = ""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)
        # The copies that `set_aside` made, in order.
        self.asides: list[bytes] = []

    def prove(self) -> None:
        """Do nothing: memory has no place that others could change."""

    def prove_place(self) -> None:
        """Do nothing, for the same reason."""

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
        """Do nothing: the data stays readable."""

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


class _PutAside(NamedTuple):
    number: int
    reason: Aside
    contents: MemoryMedium


class MemoryLog(Log):
    """A log in memory that starts with these segments, by their numbers. What is written is as durable as the process.

    After `close` it can be used again, as the place to which the next server comes.
    """

    def __init__(self, segments: Mapping[int, bytes] | None = None) -> None:
        super().__init__()
        self._segments = {number: MemoryMedium(data) for number, data in sorted((segments or {}).items())}
        self._asides: dict[str, _PutAside] = {}
        self._needed: list[int] = []
        self._is_open = False

    # What a start finds

    def segments(self) -> dict[int, str]:
        return {number: _name(number) for number in sorted(self._segments)}

    def asides(self) -> list[tuple[int, str]]:
        return sorted((aside.number, name) for name, aside in self._asides.items() if aside.reason in APPLICABLE)

    def open(self, name: str) -> MemoryMedium:
        if name in self._asides:
            return self._asides[name].contents
        return self._segments[self._number(name)]

    def set_aside(self, name: str, reason: Aside) -> str:
        if name in self._asides:
            number, _, contents = self._asides.pop(name)
        else:
            number = self._number(name)
            contents = self._segments.pop(number)
        base = target = f"{_name(number)}, {reason}"
        count = 0
        while target in self._asides:
            count += 1
            target = f"{base}, {count}"
        self._asides[target] = _PutAside(number, reason, contents)
        return target

    def _number(self, name: str) -> int:
        for number in self._segments:
            if _name(number) == name:
                return number
        raise MediumError(f"there is no {name}")

    def remove(self, numbers: list[int]) -> None:
        for number in numbers:
            self._segments.pop(number, None)

    retire = remove

    def last_retired(self) -> int:
        return 0

    def adopt(self, numbers: list[int], length: int, last_number: int) -> None:
        self._needed, self.needed_bytes, self.last_number = list(numbers), length, last_number

    # Appending

    @property
    def number(self) -> int:
        return self._needed[-1] if self._is_open else 0

    @property
    def needed_count(self) -> int:
        return len(self._needed)

    def cut(self, number: int, *, heals: bool = False) -> None:
        if heals:
            self.failure = ""
            for name in [name for found, name in self.segments().items() if found >= number]:
                self.set_aside(name, Aside.FOREIGN)
        self._refuse_if_failed()
        if number in self._segments:
            self.failure = f"there is a {_name(number)} already"
            raise MediumError(self.failure)
        self._segments[number] = MemoryMedium()
        self._needed.append(number)
        self.last_number = number
        self._is_open = True

    def prepare(self) -> None:
        """Do nothing: a cut waits for nothing."""

    def write(self, data: bytes, *, synced: bool = False) -> None:
        self._refuse_if_failed()
        assert self._is_open
        self._segments[self.number].append(data)
        self.needed_bytes += len(data)

    def write_now(self, data: bytes) -> int:
        self.write(data)
        return len(data)

    def sync(self) -> bool:
        self._refuse_if_failed()
        return False

    def sync_all(self) -> None:
        self._refuse_if_failed()

    def drop_before(self, number: int, *, keeps_aside: bool = False) -> list[str]:
        earlier = [found for found in self._needed if found < number]
        names = [self.set_aside(_name(found), Aside.DROPPED) for found in earlier] if keeps_aside else []
        self.remove(earlier)
        self._let_go(earlier)
        return names

    def drop(self, number: int) -> None:
        if number in self._needed:
            self._is_open = self._is_open and number != self._needed[-1]
            self.remove([number])
            self._let_go([number])

    def _let_go(self, numbers: list[int]) -> None:
        self._needed = [number for number in self._needed if number not in numbers]
        self.needed_bytes = sum(self._segments[number].size() for number in self._needed)

    def age_asides(self) -> None:
        for name, aside in list(self._asides.items()):
            if aside.reason is Aside.DROPPED_EARLIER:
                del self._asides[name]
        for name, aside in list(self._asides.items()):
            if aside.reason is Aside.DROPPED:
                self.set_aside(name, Aside.DROPPED_EARLIER)

    def close(self) -> None:
        self._is_open = False

    def _refuse_if_failed(self) -> None:
        if self.failure:
            raise MediumPoisoned(self.failure)


class MemoryLease:
    """The lease of a place in memory: nobody else can find it."""

    def hold(self) -> bool:
        return False

    def release(self) -> None:
        """Do nothing: there is nobody to let in."""


def new_place() -> Place:
    """A place in memory with nothing in it. After `close` the next server can come to it, and finds what was kept."""
    return Place(MemoryLease(), MemoryMedium(), MemoryLog())


def _name(number: int) -> str:
    return f"segment {number}"
