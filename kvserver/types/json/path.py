"""Paths: where in a document a command reads or writes. Pure.

A path begins with `$`, and then means all that it finds (JSONPath, RFC 9535), or it is one of the older form, `.a[0].b` or
`a[0].b`, which means the first that it finds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from kvserver.data.steps import Steps
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.types.json.document import Location
from kvserver.types.json.filters import NOTHING, walk
from kvserver.types.json.grammar import segments_of
from kvserver.types.json.segments import Chunks, Search, Segment, follow, location
from kvserver.types.json.work import Work

# Longer texts are refused: whatever is made of one is held for a while.
MOST_BYTES: Final = 1 << 16
# What stands behind the `$` of a path; anything else makes it the name in one of the older form.
_BEHIND_ROOT: Final = ("", ".", "[", " ", "\t", "\n", "\r")
# Paths up to this length are kept when they are parsed.
_CACHED_BYTES: Final = 512
_CACHED: Final = 1024
# The making of locations with more keys is divided.
_DEEP: Final = 64


class Path:
    """A path.

    text          as it was given
    is_legacy     it is of the older form
    keys          the keys from the root to the only value that it may find, where that is so whatever the document is; else
                  None. An index may be negative.
    """

    __slots__ = ("_is_from_end", "_segments", "is_legacy", "keys", "text")

    def __init__(self, text: str, is_legacy: bool, segments: tuple[Segment, ...]) -> None:
        self.text = text
        self.is_legacy = is_legacy
        keys = tuple(segment.key for segment in segments)
        self.keys: tuple[str | int, ...] | None = None if None in keys else keys  # type: ignore[assignment]
        self._is_from_end = any(type(key) is int and key < 0 for key in keys)
        self._segments = segments

    @property
    def is_root(self) -> bool:
        return self.keys == ()

    def find(self, root: JSON, work: Work) -> Steps[list[Location]]:
        """Return the locations that it finds in a document, in order; one may be there twice. CommandError: too much work."""
        if self.keys is None:
            found = []
            for chunk in self._chunks(root, work):
                for _, link in chunk:
                    found.append(location(link))
                    # A deep document has long locations, and may have many.
                    work.spend(len(found[-1]))
                    if len(found[-1]) > _DEEP and work.is_due():
                        yield
                if work.is_due():
                    yield
            return found
        if walk(root, self.keys) is NOTHING:
            return []
        return [self._from_start(root, self.keys) if self._is_from_end else self.keys]

    @staticmethod
    def _from_start(root: JSON, keys: tuple[str | int, ...]) -> Location:
        """The location to which keys lead, with positions that are counted from the start."""
        there: list[str | int] = []
        value = root
        for key in keys:
            there.append(key + len(value) if type(key) is int and key < 0 else key)
            value = value[key]
        return tuple(there)

    def values(self, root: JSON, work: Work) -> Steps[list[JSON]]:
        """Return the values that it finds in a document, in order. CommandError: too much work."""
        if self.keys is None:
            found = []
            for chunk in self._chunks(root, work):
                found += [value for value, _ in chunk]
                if work.is_due():
                    yield
            return found
        value = walk(root, self.keys)
        return [] if value is NOTHING else [value]

    def first(self, root: JSON, work: Work) -> Steps[JSON]:
        """Return the first value that it finds in a document; NOTHING if there is none. CommandError: too much work."""
        if self.keys is not None:
            return walk(root, self.keys)
        for chunk in self._chunks(root, work):
            if chunk:
                return chunk[0][0]
            if work.is_due():
                yield
        return NOTHING

    def container(self, root: JSON) -> Location | None:
        """The location of the object that would have what a definite path finds, if it is there; not for the root."""
        assert self.keys
        keys = self.keys[:-1]
        return self._from_start(root, keys) if type(walk(root, keys)) is dict else None

    def _chunks(self, root: JSON, work: Work) -> Chunks:
        return follow(self._segments, root, Search(root, work))


def parse_path(text: bytes) -> Path:
    """The path that a text is. CommandError if it is none."""
    return _parse_known(text) if len(text) <= _CACHED_BYTES else _parse(text)


def _parse(text: bytes) -> Path:
    if len(text) > MOST_BYTES:
        raise CommandError(f"ERR path is longer than {MOST_BYTES} bytes")
    try:
        path = text.decode()
    except UnicodeDecodeError:
        raise CommandError("ERR Couldn't parse as UTF-8 string") from None
    if path[:1] == "$" and path[1:2] in _BEHIND_ROOT:
        return Path(path, False, segments_of(path))
    if path == ".":
        return Path(path, True, ())
    return Path(path, True, segments_of(f"${path}" if path.startswith(".") else f"$.{path}"))


_parse_known: Final = lru_cache(_CACHED)(_parse)
