"""The payload of a frame, which comes in chunks, to members of a keyspace, in slices. Pure: never reads or hashes.

The steps of its generators take some dozens of microseconds for short values, and some hundred for a piece of a long one, so
that whoever drives them can serve clients between two steps. A long document that another program wrote is one step.

Strings, the common case, are read many at a time (`_speedups.members`), as Python's json would read them. Lone surrogates
and all that is no string go through Python's json.
"""

from __future__ import annotations

import json
import re
from codecs import utf_8_decode
from collections.abc import Callable, Iterator
from typing import Final

from kvserver._speedups.members import read_strings
from kvserver.data.entries import Entry
from kvserver.data.kinds import LongReader, form_of_tag
from kvserver.errors import PayloadInvalid
from kvserver.formats import libraries as functions
from kvserver.formats.codec import canonical_string
from kvserver.formats.longdocument import begin_document
from kvserver.formats.longstring import INTEGER, TAIL_BYTES, begin_string
from kvserver.formats.tags import Mapping

# A batch of so many members that take some microseconds each is one step.
_SLOW_BATCH_MEMBERS: Final = 64
_WINDOW_BYTES: Final = 4096
# A member that does not fit into so many windows has a long value.
_LONG_WINDOWS: Final = 4
_AFTER_MEMBER: Final = {",", "}"}
_NAME: Final = re.compile(rb'[ \t\n\r]*+("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_TAG: Final = re.compile(rb'\{"\$kvs":\{(?:"expires_at_ms":' + INTEGER + rb',)?"([^"\\]++)":')
_WHITE_SPACE: Final = re.compile(r"[ \t\n\r]*")
_WHITE_SPACE_BYTES: Final = re.compile(rb"[ \t\n\r]*")
_raw_decode: Callable[[str, int], tuple[object, int]] = json.JSONDecoder().raw_decode

# Keys and entries, by the number of their database.
Members = dict[int, list[tuple[bytes, Entry]]]


class Decoder:
    """Reads a payload that comes in chunks: `feed` each, then `finish`. Both yield the members found, step by step.

    `member_count` is the number of those that were yielded. `libraries` has the texts of function libraries by their names:
    they are not among the members.

    It accepts what Python's json reads as an object: white space, any key order, repeated keys, `NaN`. PayloadInvalid
    if the payload is anything else, or not UTF-8, or deeper or longer than Python reads.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        # The bytes that are not read yet, and the chunks behind them. These are joined only when they make a window, since a
        # long value comes in many chunks.
        self._buffer = b""
        self._coming: list[bytes] = []
        self._coming_bytes = 0
        # The number of bytes that one step looks at.
        self._window = _WINDOW_BYTES
        # The opening brace, a comma or the closing brace comes next, not a member.
        self._at_joint = True
        self._began = False
        self._ended = False
        # The long value that is being read, and its name.
        self._long: LongReader | None = None
        self._long_name = ""
        # The next member is read as a whole.
        self._is_no_long = False
        self.member_count = 0
        self.libraries: dict[bytes, bytes] = {}

    @property
    def has_ended(self) -> bool:
        """True if the closing brace of the payload's object has been read."""
        return self._ended

    @property
    def has_more(self) -> bool:
        """True if something that is no white space has come behind the object."""
        return self._ended and bool(self._buffer.strip(b" \t\n\r"))

    def feed(self, chunk: bytes) -> Iterator[Members]:
        """Take the next chunk of the payload (bytes) and yield the members that are complete, some dozens at a time."""
        self._coming.append(chunk)
        self._coming_bytes += len(chunk)
        if len(self._buffer) + self._coming_bytes >= self._window:
            self._join()
            yield from self._read(final=False)

    def finish(self) -> Iterator[Members]:
        """Yield what is left. PayloadInvalid if the payload is not whole."""
        self._join()
        yield from self._read(final=True)
        if not self._ended or self.has_more:
            raise PayloadInvalid("the payload is not a JSON object")

    def _join(self) -> None:
        self._buffer = b"".join([self._buffer, *self._coming])
        self._coming, self._coming_bytes = [], 0

    def _read(self, final: bool) -> Iterator[Members]:
        position = 0
        # Without a whole window, the decoder waits for the next chunk rather than trying the same bytes again and again.
        while not self._ended and (final or self._long or len(self._buffer) - position >= self._window):
            if self._long:
                members, end = self._read_long(position, final)
                if end == position and self._long:
                    if len(self._buffer) - position >= self._window:
                        self._window *= 2
                    break
                position = end
                self.member_count += sum(map(len, members.values()))
                yield members
                continue
            if self._at_joint:
                position = self._read_joint(position)
                if self._at_joint:
                    break
                continue
            step = self._read_strings(position) or self._read_any(position, final)
            if step:
                members, position = step
                self._window = _WINDOW_BYTES
                self._is_no_long = False
                self.member_count += sum(map(len, members.values()))
                yield members
            elif self._window >= _LONG_WINDOWS * _WINDOW_BYTES and (start := self._begin_long(position)):
                position = start
            elif position + self._window >= len(self._buffer):
                break
            else:
                self._window *= 2
                yield {}
        self._buffer = self._buffer[position:]
        if len(self._buffer) > _WINDOW_BYTES and self.has_more:
            raise PayloadInvalid("the payload goes on behind its JSON object")

    def _read_joint(self, position: int) -> int:
        """Read the brace or comma between members, if it is there. Return the position of what comes next."""
        index = _skip_bytes(self._buffer, position)
        found = self._buffer[index : index + 1]
        if not found:
            return index
        if not self._began:
            if found != b"{":
                raise PayloadInvalid("the payload is not a JSON object")
            after = _skip_bytes(self._buffer, index + 1)
            # More data has to tell if the object is empty.
            if after == len(self._buffer):
                return index
            self._began = True
            self._ended = self._buffer[after : after + 1] == b"}"
            self._at_joint = False
            return after + self._ended
        if found not in b",}":
            raise PayloadInvalid("a member of the payload's object is followed by neither a comma nor its end")
        self._ended = found == b"}"
        self._at_joint = False
        return index + 1

    def _read_strings(self, position: int) -> tuple[Members, int] | None:
        """Read up to the last `","` of the window, if all until there are members with string values.

        Such a place may lie inside a nested value or at an escaped quote, but then the text before it is no run of whole
        members.
        """
        buffer = self._buffer
        end = buffer.rfind(b'","', position, position + self._window) + 1
        read = read_strings(buffer, position, end) if end else None
        if not read:
            return None
        found, may_have_tags = read
        if not may_have_tags:
            return {0: list(found.items())}, end + 1
        members: Members = {}
        for name, text in found.items():
            self._add(members, name.decode(), text)
        return members, end + 1

    def _add(self, members: Members, name: str, entry: Entry) -> None:
        if name == functions.MEMBER and self._mapping.has_tags:
            libraries = functions.read(entry)
            if libraries is not None:
                self.libraries = libraries
                return
        number, key = self._mapping.decode_key(name)
        members.setdefault(number, []).append((key, entry))

    def _begin_long(self, position: int) -> int:
        """Begin to read a member whose value is long. Return the position of the value's text, or 0 if it has no reader."""
        name = None if self._is_no_long else _NAME.match(self._buffer, position, position + self._window)
        if not name:
            return 0
        has_tags = self._mapping.has_tags
        buffer, start = self._buffer, name.end()
        begun = (
            begin_string(buffer, start, has_tags=has_tags)
            or begin_document(buffer, start, has_tags=has_tags)
            or (_begin_tagged(buffer, start) if has_tags else None)
        )
        if not begun:
            return 0
        try:
            self._long_name = json.loads(name[1].decode())
        except ValueError:
            return 0
        self._long, start = begun
        return start

    def _read_long(self, position: int, final: bool) -> tuple[Members, int]:
        """Read a piece of the long value, or the text behind it. Return the same position if more data is needed."""
        long, buffer = self._long, self._buffer
        assert long is not None
        if not long.has_ended:
            end = long.read(buffer, position)
            if end is not None and (end != position or not final):
                return {}, end
        elif len(buffer) - position < TAIL_BYTES and not final:
            return {}, position
        elif found := long.finish(buffer, position):
            entry, end = found
            self._long, self._window, self._at_joint = None, _WINDOW_BYTES, True
            members: Members = {}
            self._add(members, self._long_name, entry)
            return members, end
        # A document that looks like a tag, or that another program wrote.
        self._buffer = b"%b:%b%b" % (canonical_string(self._long_name), long.as_json(), buffer[position:])
        self._long, self._is_no_long = None, True
        return {}, 0

    def _read_any(self, position: int, final: bool) -> tuple[Members, int] | None:
        """Read the members that are complete in the window, by Python's json. Return None if there are none."""
        stop = position + self._window
        is_rest = final and stop >= len(self._buffer)
        try:
            text, _ = utf_8_decode(self._buffer[position:stop], "strict", is_rest)
        except UnicodeDecodeError as error:
            raise PayloadInvalid(f"the payload is not UTF-8: {error.reason}") from None
        members: Members = {}
        done = 0
        for count in range(_SLOW_BATCH_MEMBERS):
            comma = _skip(text, done)
            if count and text[comma : comma + 1] != ",":
                break
            member = self._read_member(text, _skip(text, comma + 1) if count else comma, is_rest)
            if not member:
                break
            name, entry, done = member
            self._add(members, name, entry)
        if not done:
            return None
        self._at_joint = True
        return members, position + len(text[:done].encode())

    def _read_member(self, text: str, index: int, is_rest: bool) -> tuple[str, Entry, int] | None:
        try:
            name, colon = _raw_decode(text, index)
            if type(name) is not str:
                raise PayloadInvalid("a name in the payload's object is not a string")
            colon = _skip(text, colon)
            if text[colon : colon + 1] != ":":
                if colon < len(text):
                    raise PayloadInvalid("a name in the payload's object has no value")
                return None
            value, end = _raw_decode(text, _skip(text, colon + 1))
            following = _skip(text, end)
            # The rest of a number may be behind the window.
            if text[following : following + 1] not in _AFTER_MEMBER and not is_rest:
                return None
            return name, self._mapping.decode_entry(value), end
        except json.JSONDecodeError as error:
            if is_rest:
                raise PayloadInvalid(f"the payload is not JSON: {error.msg}") from None
            return None
        except (RecursionError, ValueError) as error:
            # ValueError: an integer has more digits than Python reads.
            if isinstance(error, PayloadInvalid):
                raise
            raise PayloadInvalid("the payload is nested deeper, or has longer numbers, than Python reads") from None


def _begin_tagged(data: bytes, position: int) -> tuple[LongReader, int] | None:
    """The reader of the tag that begins at the position, and the position of its JSON; None if no kind reads it in pieces."""
    start = _TAG.match(data, position)
    form = form_of_tag(start[2].decode("utf-8", "replace")) if start else None
    if not start or not form:
        return None
    reader = form.begin_long(start[0], int(start[1]) if start[1] else None)
    return (reader, start.end()) if reader else None


def _skip(text: str, index: int) -> int:
    match = _WHITE_SPACE.match(text, index)
    assert match is not None
    return match.end()


def _skip_bytes(data: bytes, index: int) -> int:
    match = _WHITE_SPACE_BYTES.match(data, index)
    assert match is not None
    return match.end()
