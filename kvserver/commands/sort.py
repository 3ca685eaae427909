"""SORT and SORT_RO: the elements of a list, a set or a sorted set in order, or what other keys have for them.

Which types have elements, and what a pattern finds in a value, is asked of the kinds of the values. Source: sort.c of redis
7.0, whose comparison of texts is that of the C locale.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from kvserver.acl.guarded import WRITE
from kvserver.data.kinds import Elements, kind_of, load_of_dump
from kvserver.dispatch.arguments import SYNTAX_ERROR, WRONG_TYPE, integer
from kvserver.dispatch.command import Command, command
from kvserver.errors import CommandError
from kvserver.formats.rdb_collections import write_list
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

DENIED: Final = "ERR {} option of SORT denied due to insufficient ACL permissions."
NO_NUMBER: Final = "ERR One or more scores can't be converted into double"
# What C's strtod reads, but for NaN, which is refused, too.
# Digits are taken whole (`++`): a long text that is no number would be tried at each of them again.
_DECIMAL: Final = re.compile(rb"[ \t-\r]*+([+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)", re.ASCII)
_HEXADECIMAL: Final = re.compile(
    rb"[ \t-\r]*+([+-]?0[xX](?:[0-9a-fA-F]++\.?[0-9a-fA-F]*+|\.[0-9a-fA-F]++)(?:[pP][+-]?[0-9]++)?)"
)
_INFINITE: Final = re.compile(rb"[ \t-\r]*+([+-]?inf(?:inity)?)", re.IGNORECASE)


class _Wanted(NamedTuple):
    """The options of a call. `by` is None if nothing else decides the order, `is_sorted` False for BY nosort."""

    by: bytes | None
    is_sorted: bool
    is_descending: bool
    is_alphabetical: bool
    offset: int
    most: int
    patterns: list[bytes]
    destination: bytes | None


def _wanted(session: Session, command: Command, request: Request, *, can_store: bool) -> _Wanted:
    """The options, of which the last of a name counts. CommandError for the first that is wrong.

    Nobody knows which keys BY and GET will look at, so that they are for users who may read all.
    """
    words = request[2:]
    by: bytes | None = None
    # As in Redis, a later BY with a pattern does not take back that an earlier one has none.
    is_sorted, is_descending, is_alphabetical = True, False, False
    offset, most = 0, -1
    patterns: list[bytes] = []
    destination: bytes | None = None
    place = 0
    while place < len(words):
        word, left = words[place].lower(), len(words) - place - 1
        if word in (b"asc", b"desc"):
            is_descending = word == b"desc"
        elif word == b"alpha":
            is_alphabetical = True
        elif word == b"limit" and left >= 2:
            offset, most = integer(words[place + 1]), integer(words[place + 2])
            place += 2
        elif left and word == b"store" and can_store:
            destination = words[place := place + 1]
        elif left and word == b"by":
            by = words[place := place + 1]
            is_sorted = is_sorted and b"*" in _c_string(by)
            if b"*" in _c_string(by):
                _check_rights(session, command, request, "BY")
        elif left and word == b"get":
            patterns.append(words[place := place + 1])
            _check_rights(session, command, request, "GET")
        else:
            raise CommandError(SYNTAX_ERROR)
        place += 1
    return _Wanted(by, is_sorted, is_descending, is_alphabetical, offset, most, patterns, destination)


def _check_rights(session: Session, command: Command, request: Request, option: str) -> None:
    """Refuse an option that looks at other keys to a user who may not read all keys."""
    user = session.user
    if not (user.is_unrestricted or user.may_read_all_keys(command, request, session.server.users.catalogue)):
        raise CommandError(DENIED.format(option))


def _stored_in(request: Request) -> list[tuple[int, int]]:
    """The position of the key that a call stores in, if it does."""
    found: list[tuple[int, int]] = []
    place = 2
    while place < len(request):
        word = request[place].lower()
        if word == b"store" and place + 1 < len(request):
            found = [(place + 1, WRITE)]
        place += 3 if word == b"limit" else 2 if word in (b"store", b"by", b"get") else 1
    return found


def _c_string(text: bytes) -> bytes:
    """The text up to a NUL."""
    return text.partition(b"\0")[0]


def number_of(text: bytes) -> float:
    """The number that C's strtod reads in a text; the empty one is 0. CommandError if it is none, or out of range."""
    text = _c_string(text)
    if not text:
        return 0.0
    if match := _DECIMAL.fullmatch(text):
        number = float(match[1])
        # A number whose digits are not all zero was rounded to zero: out of range, as strtod tells.
        if math.isinf(number) or (abs(number) < 2.0**-1022 and match[1].lower().partition(b"e")[0].strip(b"+-0.")):
            raise CommandError(NO_NUMBER)
        return number
    if match := _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(match[1].decode())
        except OverflowError:
            raise CommandError(NO_NUMBER) from None
    if match := _INFINITE.fullmatch(text):
        return float(match[1])
    raise CommandError(NO_NUMBER)


def _finder(session: Session, pattern: bytes) -> Callable[[bytes], bytes | None]:
    """The function that finds what a pattern means for an element: another key's string, or a field of a hash."""
    if pattern == b"#":
        return lambda element: element
    prefix, star, rest = pattern.partition(b"*")
    if not star or b"\0" in prefix:
        return lambda element: None
    postfix, arrow, field = rest.partition(b"->")
    if not field:
        postfix, arrow = rest, b""
    keyspace = session.keyspace

    def find(element: bytes) -> bytes | None:
        key = prefix + element + postfix
        value = keyspace.read(key)
        living = None if value is None else keyspace.living(value)
        return None if living is None else kind_of(living).part(living, field if arrow else None)

    return find


def _ordered(session: Session, elements: Elements, wanted: _Wanted) -> list[bytes]:
    """All elements in the order that is wanted."""
    members = elements.members
    by, is_alphabetical = wanted.by, wanted.is_alphabetical
    if not wanted.is_sorted:
        if elements.has_order:
            return members[::-1] if wanted.is_descending else members
        if wanted.destination is None:
            return members
        # What is stored must not be in random order.
        by, is_alphabetical = None, True
    found: list[bytes | None] = list(map(_finder(session, by), members)) if by is not None else [*members]
    keys: list[tuple[bool, bytes]] | list[tuple[float, bytes]]
    if is_alphabetical:
        # Elements for which nothing is found come first.
        keys = [(each is not None, each or b"") for each in found]
    else:
        numbers = [0.0 if each is None else number_of(each) for each in found]
        keys = list(zip(numbers, members, strict=True))
    order = sorted(range(len(members)), key=keys.__getitem__, reverse=wanted.is_descending)
    return [members[place] for place in order]


def _sorted(session: Session, request: Request, wanted: _Wanted) -> list[bytes | None]:
    """What the call asks for: elements, or what is found for each of them."""
    value = session.keyspace.read(request[1])
    elements = Elements([], has_order=True) if value is None else kind_of(value).elements(value)
    if elements is None:
        raise CommandError(WRONG_TYPE)
    if elements.converted is not None:
        session.keyspace.put_equal(request[1], elements.converted)
    members = _ordered(session, elements, wanted)
    start = max(wanted.offset, 0)
    members = members[start:] if wanted.most < 0 else members[start : start + wanted.most]
    if not wanted.patterns:
        return [*members]
    finders = [_finder(session, pattern) for pattern in wanted.patterns]
    return [find(element) for element in members for find in finders]


@command("sort",
         "key:key BY=pattern:pattern#1? LIMIT=offset_count{offset:integer count:integer}? GET=pattern:pattern#1?++ "
         "order<ASC|DESC>? ALPHA=sorting:pure-token? STORE=destination:key#2?",
         "write denyoom", access="RO access; ? RO access; ? OW update",
         key_notes=("", "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the "
                    "content of the key we sort", "For the optional STORE keyword. It is marked 'unknown' because the keyword "
                    "can appear anywhere in the argument array"),
         more_keys=_stored_in,
         events={"RESTORE": "l:sortstore"}, since="1.0.0", group="generic",
         categories="set sortedset list dangerous",
         complexity="O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of "
         "returned elements. When the elements are not sorted, complexity is O(N).",
         summary="Sort the elements in a list, set or sorted set")  # fmt: skip
def sort(session: Session, request: Request) -> Reply:
    wanted = _wanted(session, sort, request, can_store=True)
    found = _sorted(session, request, wanted)
    if wanted.destination is None:
        return list(found)
    _store(session, wanted.destination, [each or b"" for each in found])
    return len(found)


def _store(session: Session, destination: bytes, elements: list[bytes]) -> None:
    """Store a list, or remove the key if there are no elements."""
    keyspace = session.keyspace
    if elements:
        dumped = write_list(elements)
        load = load_of_dump(dumped[0])
        assert load is not None, "lists are one of the kinds"
        keyspace.put(destination, load.value(dumped[1:], len(dumped)))
    elif keyspace.live(destination) is not None:
        keyspace.remove(destination)


@command("sort_ro",
         "key:key BY=pattern:pattern#1? LIMIT=offset_count{offset:integer count:integer}? GET=pattern:pattern#1?++ "
         "order<ASC|DESC>? ALPHA=sorting:pure-token?",
         "readonly", access="RO access; ? RO access",
         key_notes=("", "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the "
                    "content of the key we sort"),
         since="7.0.0", group="generic",
         categories="set sortedset list dangerous",
         complexity="O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of "
         "returned elements. When the elements are not sorted, complexity is O(N).",
         summary="Sort the elements in a list, set or sorted set. Read-only variant of SORT.")  # fmt: skip
def sort_ro(session: Session, request: Request) -> Reply:
    return list(_sorted(session, request, _wanted(session, sort_ro, request, can_store=False)))
