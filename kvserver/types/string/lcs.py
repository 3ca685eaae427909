"""LCS: the longest common subsequence of two strings, and its places in them.

A row of the table is an integer of one bit per column (Hyyrö 2004, "Bit-parallel LCS-length computation revisited"), so
that a row, which Redis fills cell by cell, costs a few operations. Of all longest subsequences the one is found that Redis
finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kvserver.data.entries import Value
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.value import as_string

# Redis limits the size of its table, which has cells of so many bytes.
_CELL_BYTES = 4
_MAX_LENGTH = 2**32 - 2


@command("lcs", "key1:key key2:key LEN? IDX? MINMATCHLEN=len:integer? WITHMATCHLEN?", "readonly", access="RO access",
         numbers={"MINMATCHLEN": integer},
         since="7.0.0", group="string", complexity="O(N*M) where N and M are the lengths of s1 and s2, respectively",
         summary="Find longest common substring")  # fmt: skip
def lcs(session: Session, request: Request) -> Reply:
    # As in Redis, both keys are looked up before either is refused.
    first, second = map(_string, [session.keyspace.read(key) for key in request[1:3]])
    options = lcs.options(request)
    if "IDX" in options and "LEN" in options:
        raise CommandError("ERR If you want both the length and indexes, please just use IDX.")
    if max(len(first), len(second)) > _MAX_LENGTH:
        raise CommandError("ERR String too long for LCS")
    if (len(first) + 1) * (len(second) + 1) * _CELL_BYTES > session.server.config.proto_max_bulk_len:
        raise CommandError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    if "LEN" in options:
        return length(first, second)
    found = matches(first, second)
    if "IDX" not in options:
        return b"".join(first[match.first : match.first + match.length] for match in reversed(found))
    shown: list[Reply] = []
    shortest, shows_lengths = options.number("MINMATCHLEN", 0), "WITHMATCHLEN" in options
    for match in found:
        if match.length >= shortest:
            last = match.length - 1
            ranges: list[Reply] = [[match.first, match.first + last], [match.second, match.second + last]]
            shown.append([*ranges, match.length] if shows_lengths else ranges)
    return {b"matches": shown, b"len": sum(match.length for match in found)}


class Match(NamedTuple):
    """A piece that both strings have: `length` bytes, from `first` on in the first string, from `second` on in the other."""

    first: int
    second: int
    length: int


def _rows(rows: bytes, columns: bytes) -> Iterator[int]:
    """The table. Bit k of row i is 0 if rows[:i] has a longer subsequence with columns[:k + 1] than with columns[:k]."""
    everywhere = (1 << len(columns)) - 1
    places = {}
    for byte in set(rows):
        digits = bytearray(b"0" * 256)
        digits[byte] = ord("1")
        places[byte] = int(columns.translate(digits)[::-1] or b"0", 2)
    row = everywhere
    yield row
    for byte in rows:
        common = row & places[byte]
        row = ((row + common) | (row - common)) & everywhere
        yield row


def _string(value: Value | None) -> bytes:
    """A value as a string, an empty one for a missing key. CommandError for another kind of value."""
    try:
        return bytes(as_string(value) or b"")
    except CommandError:
        raise CommandError("ERR The specified keys must contain string values") from None


def length(first: bytes, second: bytes) -> int:
    """The length of the longest common subsequence."""
    shorter, longer = sorted((first, second), key=len)
    row = 0
    for row in _rows(shorter, longer):  # noqa: B007  (the last one is wanted)
        pass
    return len(longer) - row.bit_count()


def matches(first: bytes, second: bytes) -> list[Match]:
    """The longest common subsequence that Redis chooses, as its unbroken pieces, the last one first.

    Redis goes back from the end of both strings. It steps over two bytes that are equal. Else it steps over the last byte of
    the first string if only that one makes no difference to the length, and otherwise over the last byte of the second.
    """
    pairs = _pairs_by_first(first, second) if len(first) <= len(second) else _pairs_by_second(first, second)
    found: list[Match] = []
    for at_first, at_second in pairs:
        if found and (found[-1].first, found[-1].second) == (at_first + 1, at_second + 1):
            found[-1] = Match(at_first, at_second, found[-1].length + 1)
        else:
            found.append(Match(at_first, at_second, 1))
    return found


def _pairs_by_first(first: bytes, second: bytes) -> list[tuple[int, int]]:
    """The positions of equal bytes, with a row for each byte of the first string."""
    pairs: list[tuple[int, int]] = []
    table = list(_rows(first, second))
    i, j = len(first), len(second)
    missing = j - table[i].bit_count()
    while missing:
        below = (1 << j) - 1
        # The column in which the row reaches the missing length. To its right, the last byte of `second` makes no difference.
        reached = (~table[i] & below).bit_length()
        match = second.rfind(first[i - 1], 0, j) + 1
        if match >= reached:
            i, j = i - 1, match - 1
            pairs.append((i, j))
            missing -= 1
        else:
            i, j = i - 1, reached
    return pairs


def _pairs_by_second(first: bytes, second: bytes) -> list[tuple[int, int]]:
    """The same positions, with a row for each byte of the second string, for a first string that is longer."""
    pairs: list[tuple[int, int]] = []
    table = list(_rows(second, first))
    i, j = len(first), len(second)
    missing = i - table[j].bit_count()
    while missing:
        match = first.rfind(second[j - 1], 0, i) + 1
        below = (1 << i) - 1
        if match != i and (~table[j - 1] & below).bit_count() == missing:
            j -= 1
        else:
            i, j = match - 1, j - 1
            pairs.append((i, j))
            missing -= 1
    return pairs
