"""Replies to bytes, in RESP2 and RESP3. Sans-IO: never reads or writes, and knows no command.

Measured: the writer's loop and the runs of alike commands write bulk strings and integers by hand, by the constants below.

What a handler returns says its kind by its type:

    bytes          bulk string            None        null (RESP2: null bulk string)
    Simple         simple string          bool        boolean (RESP2: 1 or 0)
    Error          error                  int         integer
    list, tuple    array                  float       double (RESP2: bulk string)
    NullArray      null (RESP2: null array)
    dict           map (RESP2: flat array of names and values)
    Pairs          map (RESP2: array of arrays of a name and a value)
    Rows           array of arrays, each of a string and an array of strings
    Verbatim       verbatim text (RESP2: bulk string)
    Digits         double of these digits (RESP2: bulk string)
    BigNumber      big number (RESP2: bulk string)
    Attributes     what is told of the reply behind it, in Replies (RESP2: nothing)
    SetOf          set (RESP2: array)
    Push           push: what comes without having been asked for (RESP2: array)
    Replies        several replies one behind the other, or none
    Encoded        what is sent as it is
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final, Union


class Simple:
    """A simple string: one line of text. `wire` is what is sent."""

    __slots__ = ("text", "wire")

    def __init__(self, text: str) -> None:
        self.text = text
        self.wire = b"+%b\r\n" % text.encode()


class Error:
    """An error: the code word and the text, as in `ERR syntax error`. Line breaks, which would end it, become spaces."""

    __slots__ = ("text", "wire")

    def __init__(self, text: str) -> None:
        self.text = text
        line = text.encode("utf-8", "surrogateescape").replace(b"\r", b" ").replace(b"\n", b" ")
        self.wire = b"-%b\r\n" % line


class Verbatim(bytes):
    """Text for a person to read."""

    __slots__ = ()


class Encoded(bytes):
    """A reply that is encoded already, for the protocol of the client that it is for. It is no part of another reply."""

    __slots__ = ()


class Digits(bytes):
    """The digits of a number, where others are sent than those of a double."""

    __slots__ = ()


class BigNumber(Digits):
    """The digits of an integer that may have more than 64 bits."""

    __slots__ = ()


class Attributes(dict["Reply", "Reply"]):
    """What is told of the reply behind it, for clients that ask for that."""

    __slots__ = ()


class Push(list["Reply"]):
    """A push to a client, beside the replies to its commands: a message, or what becomes of its subscriptions."""

    __slots__ = ()


class SetOf(list["Reply"]):
    """Items in no order that matters, none of them twice."""

    __slots__ = ()


class Pairs(list["Reply"]):
    """Arrays of a name and a value each, which are a map; a name may come twice."""

    __slots__ = ()


class Rows(list["Reply"]):
    """Arrays of a short string and a list of strings each. Measured: to know it saves most of the time to encode them."""

    __slots__ = ()


class Replies(tuple["Reply", ...]):
    """The replies to one command that has several, or none."""

    __slots__ = ()


class NullArray:
    """The null instead of an array: in RESP2 its form is another one than that of other nulls."""

    __slots__ = ()


OK: Final = Simple("OK")
NULL_ARRAY: Final = NullArray()
NO_REPLY: Final = Replies()

_Scalar = bytes | Simple | Error | NullArray | bool | int | float | None
Reply = Union[_Scalar, list["Reply"], tuple["Reply", ...], dict["Reply", "Reply"]]  # noqa: UP007 (recursive)

CRLF: Final = b"\r\n"
# The first lines of bulk strings of up to 4 KiB (`$64\r\n`), by length, made once: to format one takes longer than a GET.
CACHED_BULK_HEADERS: Final = 4097
BULK_HEADERS: Final = [b"$%d\r\n" % length for length in range(CACHED_BULK_HEADERS)]
# The same with the end of what stands before them.
_NEXT_BULK_HEADERS: Final = [b"\r\n%b" % header for header in BULK_HEADERS]
next_bulk_header = _NEXT_BULK_HEADERS.__getitem__

# Integers as they are sent, made once for the same reason: the most frequent are these.
CACHED_INTEGERS: Final = 1024
INTEGERS: Final = [b":%d\r\n" % number for number in range(CACHED_INTEGERS)]

# A longer piece is not joined with others, and others are not joined to more than this.
LONG_PIECE_BYTES: Final = 1 << 18

# An array of no more short strings is joined at once.
JOINED_ITEMS: Final = 1000

# These are by the protocol's version.
NULL: Final = {2: b"$-1\r\n", 3: b"_\r\n"}
_NULL_ARRAY = {2: b"*-1\r\n", 3: b"_\r\n"}
_MARKS: Final[dict[tuple[type, int], bytes]] = {(Push, 3): b">", (SetOf, 3): b"~"}
# The first lines of what may be made of short strings, without their ends.
_FIRST_MARKS: Final[dict[type, dict[int, bytes]]] = {
    list: {2: b"*%d", 3: b"*%d"},
    SetOf: {2: b"*%d", 3: b"~%d"},
    dict: {2: b"*%d", 3: b"%%%d"},
}
_BYTES: Final = {bytes}
# A row of a string and an array of two.
_USUAL_ROW: Final = 2
_ROW: Final = b"*2\r\n$%d\r\n%b\r\n*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
_BOOLEAN = {2: (b":0\r\n", b":1\r\n"), 3: (b"#f\r\n", b"#t\r\n")}


def encode(reply: Reply, protocol: int) -> bytes:
    """The bytes of a reply in this version of RESP (2 or 3). TypeError for what is no reply."""
    return b"".join(encode_pieces(reply, protocol))


def encode_pieces(reply: Reply, protocol: int) -> list[bytes]:
    """The bytes of a reply in pieces, of which a long string is one, so that nobody copies it. TypeError as for `encode`."""
    kind = type(reply)
    if kind in _FIRST_MARKS and len(reply) <= JOINED_ITEMS:  # type: ignore[arg-type]
        items = [*chain.from_iterable(reply.items())] if kind is dict else reply  # type: ignore[union-attr]
        count = len(reply if protocol == 3 else items)  # type: ignore[arg-type]
        if joined := _array_of_short(_FIRST_MARKS[kind][protocol] % count, items, protocol):  # type: ignore[arg-type]
            return [joined]
    pieces: list[bytes] = []
    if kind is Rows:
        _encode_rows(reply, pieces.append, len(reply))  # type: ignore[arg-type]
    elif kind is Pairs:
        _encode_pairs(reply, protocol, pieces.append)  # type: ignore[arg-type]
    else:
        _encode(reply, protocol, pieces.append)
    return pieces


def _array_of_short(head: bytes, items: list[Reply], protocol: int) -> bytes | None:
    """The array of these items behind its first line, if all are short strings.

    Measured: for a hundred it takes an eighth of what `_encode` takes, since no step of it is one of Python.
    """
    # Strings of other types than bytes differ from these in RESP3 only.
    if (items and type(items[0]) is not bytes) or (protocol == 3 and set(map(type, items)) - _BYTES):
        return None
    pieces = [CRLF] * (2 * len(items) + 2)
    pieces[0] = head
    try:
        pieces[1:-1:2] = map(next_bulk_header, map(len, items))  # type: ignore[arg-type]
        pieces[2:-1:2] = items  # type: ignore[assignment]
        return b"".join(pieces)
    # An item has no length, is too long, or is an array.
    except (TypeError, IndexError):
        return None


def _encode(reply: Reply, protocol: int, append: Callable[[bytes], None]) -> None:
    match reply:
        case Simple() | Error():
            append(reply.wire)
        case None:
            append(NULL[protocol])
        case Encoded():
            append(reply)
        case bool():
            append(_BOOLEAN[protocol][reply])
        case int():
            append(b":%d\r\n" % reply)
        case float() if protocol == 3:
            append(b",%b\r\n" % _double(reply))
        case float():
            append(bulk(_double(reply)))
        case Verbatim() if protocol == 3:
            append(b"=%d\r\ntxt:%b\r\n" % (len(reply) + len(b"txt:"), reply))
        case Digits() if protocol == 3:
            append(b"%b%b\r\n" % (b"(" if isinstance(reply, BigNumber) else b",", reply))
        case bytes() if len(reply) > LONG_PIECE_BYTES:
            append(b"$%d\r\n" % len(reply))
            append(reply)
            append(CRLF)
        case bytes():
            append(bulk(reply))
        case Replies():
            for item in reply:
                _encode(item, protocol, append)
        case Pairs():
            _encode_pairs(reply, protocol, append)
        case Rows():
            _encode_rows(reply, append, len(reply))
        case list() | tuple():
            append(b"%b%d\r\n" % (_MARKS.get((type(reply), protocol), b"*"), len(reply)))
            for item in reply:
                # Long arrays are made of short strings: here the call for each of them is saved.
                if type(item) is bytes and (length := len(item)) <= LONG_PIECE_BYTES:
                    append(b"$%d\r\n%b\r\n" % (length, item))
                else:
                    _encode(item, protocol, append)
        case Attributes() if protocol == 2:
            pass
        case dict():
            mark = b"|" if isinstance(reply, Attributes) else b"%" if protocol == 3 else b"*"
            append(b"%b%d\r\n" % (mark, len(reply) * (1 if protocol == 3 else 2)))
            for name, item in reply.items():
                _encode(name, protocol, append)
                _encode(item, protocol, append)
        case NullArray():
            append(_NULL_ARRAY[protocol])
        case _:
            raise TypeError(f"a handler returned {type(reply).__name__}, which is no reply")


def _encode_pairs(pairs: Pairs, protocol: int, append: Callable[[bytes], None]) -> None:
    append(b"%b%d\r\n" % (b"%" if protocol == 3 else b"*", len(pairs)))
    for pair in pairs:
        if protocol == 2:
            append(b"*2\r\n")
        for item in pair:  # type: ignore[union-attr]
            for piece in encode_pieces(item, protocol):
                append(piece)


def _encode_rows(rows: Iterable[Any], append: Callable[[bytes], None], count: int) -> None:
    append(b"*%d\r\n" % count)
    for name, strings in rows:
        if len(strings) == _USUAL_ROW:
            first, second = strings
            if len(first) + len(second) <= LONG_PIECE_BYTES:
                append(_ROW % (len(name), name, len(first), first, len(second), second))
                continue
        append(b"*2\r\n$%d\r\n%b\r\n" % (len(name), name))
        for piece in encode_pieces(strings, 2):
            append(piece)


def bulk(data: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def join_short(pieces: Iterable[bytes]) -> list[bytes]:
    """The same bytes in few pieces: short ones joined, each long one as it is, since to join it would be to copy it."""
    joined: list[bytes] = []
    short: list[bytes] = []
    short_bytes = 0
    for piece in pieces:
        is_long = len(piece) > LONG_PIECE_BYTES
        if short and (is_long or short_bytes > LONG_PIECE_BYTES):
            joined.append(b"".join(short))
            short, short_bytes = [], 0
        if is_long:
            joined.append(piece)
        else:
            short.append(piece)
            short_bytes += len(piece)
    return [*joined, b"".join(short)] if short else joined


def _double(number: float) -> bytes:
    if number != number:
        return b"nan"
    if number in (float("inf"), float("-inf")):
        return b"inf" if number > 0 else b"-inf"
    return b"%.17g" % number
