"""The two ends of a list, at which elements are pushed and popped: what several commands do. Pure.

A list of small elements is packed, and the usual push and pop of one element leave it so. A push makes a missing key, and
the pop of the last element removes the key. Each function records what repeats it.
"""

from __future__ import annotations

from enum import Enum

from kvserver._speedups.packed import pop_left, pop_right, push_left, push_right
from kvserver.containers.packed import MOST_MEMBERS
from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.errors import CommandError
from kvserver.state.session import Session
from kvserver.types.list.value import List, changeable, list_of, store


class End(Enum):
    """An end of a list. The values are the commands that push one element there, and those that pop one."""

    LEFT = (b"LPUSH", b"LPOP")
    RIGHT = (b"RPUSH", b"RPOP")


_ENDS = {b"LEFT": End.LEFT, b"RIGHT": End.RIGHT}


def end_of(word: bytes) -> End:
    """The end that a word of a command names. CommandError if it names none."""
    end = _ENDS.get(word.upper())
    if end is None:
        raise CommandError(SYNTAX_ERROR)
    return end


def push(session: Session, key: bytes, end: End, elements: list[bytes], request: list[bytes]) -> int:
    """Push elements one by one, which the request does, and return the length that the list has then.

    CommandError for a value of another kind.
    """
    present = changeable(session, key)
    if present is None:
        present = List()
    if end is End.LEFT:
        for element in elements:
            present.push_left(element)
    else:
        present.extend(elements)
    store(session, key, present, request)
    return len(present)


def push_one(session: Session, key: bytes, end: End, element: bytes, request: list[bytes]) -> int:
    """`push` of one element, the third word of the request.

    Measured: in the usual cases, this takes a third of what it takes to open the list.
    """
    keyspace = session.keyspace
    entry = keyspace.get(key)
    push_packed = push_left if end is End.LEFT else push_right
    found = push_packed(entry, request, None, MOST_MEMBERS)
    if found is not None:
        length: int
        length, pushed = found
        keyspace.put_as(key, pushed, request)
        return length
    if type(entry) is List:
        elements = keyspace.own_plain(key, entry)
        assert type(elements) is List
        if end is End.LEFT:
            elements.push_left(element)
        else:
            elements.push_right(element)
        keyspace.put_as(key, elements, request)
        return elements.count
    return push(session, key, end, [element], request)


def pop(session: Session, key: bytes, end: End, request: list[bytes]) -> bytes | None:
    """Pop one element, which the request of two words does, and return it, or None if the key is missing.

    CommandError for a value of another kind.
    """
    keyspace = session.keyspace
    entry = keyspace.get(key)
    pop_packed = pop_left if end is End.LEFT else pop_right
    found = pop_packed(entry, request, None, MOST_MEMBERS)
    if found is not None:
        element: bytes | None
        element, rest = found
        if rest is not None:
            keyspace.put_as(key, rest, request)
        elif entry is not None:
            keyspace.change(key, None, request)
        return element
    if type(entry) is List:
        large = keyspace.own_plain(key, entry)
        assert type(large) is List
        element = large.pop_left() if end is End.LEFT else large.pop_right()
        if large.count:
            keyspace.put_as(key, large, request)
        else:
            keyspace.change(key, None, request)
        return element
    elements = changeable(session, key)
    if elements is None:
        return None
    element = elements.pop_left() if end is End.LEFT else elements.pop_right()
    store(session, key, elements, request)
    return element


def pop_some(session: Session, key: bytes, end: End, count: int) -> list[bytes] | None:
    """Pop so many elements, or as many as there are, and return them in the order in which they go.

    None if the key is missing. CommandError for a value of another kind.
    """
    elements = changeable(session, key)
    if elements is None:
        return None
    length = len(elements)
    count = min(count, length)
    if not count:
        return []
    if end is End.LEFT:
        popped = elements.slice(0, count)
        elements.trim(count, length)
    else:
        popped = elements.slice(length - count, length)[::-1]
        elements.trim(0, length - count)
    store(session, key, elements, [end.value[1], key, b"%d" % count])
    return popped


def move(session: Session, source: bytes, source_end: End, destination: bytes, end: End) -> bytes | None:
    """Pop one element of a list and push it to another, which may be the same. Return it, or None if the source is missing.

    CommandError for a value of another kind.
    """
    keyspace = session.keyspace
    if list_of(keyspace.live(source)) is None:
        return None
    list_of(keyspace.live(destination))
    if source == destination:
        return _rotate(session, source, source_end, end)
    # The journal gets what each of the two lists is changed by.
    element = pop(session, source, source_end, [source_end.value[1], source])
    assert element is not None
    push_one(session, destination, end, element, [end.value[0], destination, element])
    return element


def _rotate(session: Session, key: bytes, source_end: End, end: End) -> bytes | None:
    """Pop one element and push it to the same list, which keeps its expiry."""
    elements = changeable(session, key)
    assert elements is not None
    element = elements.pop_left() if source_end is End.LEFT else elements.pop_right()
    if end is End.LEFT:
        elements.push_left(element)
    else:
        elements.push_right(element)
    store(session, key, elements, [b"LMOVE", key, key, source_end.name.encode(), end.name.encode()])
    return element
