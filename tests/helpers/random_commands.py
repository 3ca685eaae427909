"""Random commands for two servers, and the comparison of their replies. Pure: it knows no socket and no server.

A row such as `SETEX key seconds value` stands in the case file of its family, behind `random: `. A word in capitals stands
for itself. Another word is a name in WORDS, whose entry makes words by a random number generator; behind it, `?` means none
or one, `*` none to three, `+` one to three. Some commands are wrong on purpose: they have a word too many or too few, or an
awkward word in the place of another.

Two kinds of words are never made, since Redis's replies to them depend on its being written in C: options with a NUL, which
end there, and payloads of RESTORE that end so early that Redis reads a part of the checksum as a value. Nor is any entry added
to a stream with `*` as its id: the clocks of two servers don't agree to the millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import hiredis

from helpers import dumps

Words = tuple[bytes, ...]
Maker = Callable[[Random], Words]

KEYS = (b"a", b"b", b"c", b"number", b"float", b"bits", b"long key " * 9, b"", b"\0", b"\xff\xfe\x80", b"k\r\n", b"missing")
# Most commands use so few keys, so that a command meets the values that others have left.
_USUAL_KEYS = 3
INTEGERS = (
    *(b"%d" % number for number in (0, 1, -1, 2, 3, 7, 8, 9, 10, -2, -3, -8, -9, 15, 16, 63, 64, 65, 100, -100, 255, 256)),
    *(b"%d" % (sign * 2**bits + more) for bits in (31, 32, 62, 63, 64) for sign in (1, -1) for more in (-1, 0, 1)),
)
NO_INTEGERS = (
    *(b"+1", b" 1", b"1 ", b"1_0", b"-0", b"01", b"00", b"-", b"+", b"", b"1.0", b"1e5", b"0x10", b"1\0", b"\xd9\xa1", b"#1"),
    *(b"nan", b"inf", b"-inf", b"one", b"9" * 30, b"-" + b"9" * 30),
)
FLOATS = (
    *(b"0.1", b"-0.1", b"3.0e3", b"1e5", b"1E-5", b".5", b"5.", b"+5", b"-0", b"-0.0", b"1e17", b"1e18", b"1e-17", b"1e-18"),
    *(b"3.14159265358979323846", b"0.1000000000000000055511151231257827", b"123456789.987654321", b"1e300", b"-1e300"),
    *(b"1e4932", b"1.18973149535723176502e+4932", b"1.2e4932", b"-1e4932", b"1e-4950", b"1e-4951", b"1e-4952", b"1e5000"),
    *(b"0x1.8p3", b"0X1P-3", b"0x.8", b"0x", b"0x1p", b"0x1p99999", b"1e", b"1e+", b".", b"e5", b"1e99999999999999999999"),
    *(b"infinity", b"-INF", b"inf", b"nan", b"-nan", b"nan(1)", b"1,5", b"1.5f", b"0" * 50 + b"1", b"1" * 5000, b"1" * 5200),
)
VALUES = (
    *(b"", b"v", b"value", b"a" * 300, b"\0", b"\xff", b"\0\xff\0\xff", b"\x80" * 9, bytes(range(256)), b"line\r\nend\r\n"),
    *(b"\xff\xff\xff", b"\xff\xff\xfe", b"\xff" * 9, b"\0\0", b"\0" * 9 + b"\x10", "é€🎈".encode()),
    *(b'{"a":1}', b"KVS1", b"$kvs:", b"foobar", b"ohmytext", b"mynewtext", b"abcbdab" * 8, b"x" * 5000),
)
AWKWARD = (*NO_INTEGERS, b"GET", b"NX", b"\xff" * 3, b"a" * 200, b"-9223372036854775808", b"4294967296", b"*", b"NOSUCH")


def _choice(*words: bytes) -> Maker:
    return lambda rng: (rng.choice(words),)


def _choice_of_words(*several: Words) -> Maker:
    return lambda rng: rng.choice(several)


def _key(rng: Random) -> Words:
    return (rng.choice(KEYS[:_USUAL_KEYS] if rng.random() < 0.6 else KEYS),)


def _integer(rng: Random) -> Words:
    if rng.random() < 0.2:
        return (rng.choice(NO_INTEGERS),)
    return (rng.choice(INTEGERS) if rng.random() < 0.6 else b"%d" % rng.randint(-300, 300),)


def _small(rng: Random) -> Words:
    """A number that is mostly an ordinary one, so that the command reads on behind it."""
    return _integer(rng) if rng.random() < 0.15 else (b"%d" % rng.randint(-12, 12),)


def _database(rng: Random) -> Words:
    """The number of a database: mostly one of three, so that the commands meet keys there."""
    return _small(rng) if rng.random() < 0.1 else (rng.choice((b"0", b"0", b"1", b"2")),)


def _float(rng: Random) -> Words:
    kind = rng.random()
    if kind < 0.3:
        return (rng.choice(FLOATS),)
    if kind < 0.4:
        return _integer(rng)
    if kind < 0.7:
        return (b"%.*f" % (rng.randint(0, 25), rng.uniform(-1, 1) * 10.0 ** rng.randint(-20, 25)),)
    return (b"%.*e" % (rng.randint(0, 25), rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 40)),)


def _value(rng: Random) -> Words:
    kind = rng.random()
    if kind < 0.3:
        return (rng.choice(VALUES),)
    if kind < 0.6:
        return _integer(rng)
    if kind < 0.7:
        return _float(rng)
    if kind < 0.85:
        return (bytes(rng.choices(b"abc", k=rng.randint(0, 40))),)
    return (rng.randbytes(rng.randint(0, 40)),)


def _payload(rng: Random) -> Words:
    """A payload for RESTORE, mostly with a right checksum, less often with a right format."""
    kind = rng.random()
    if kind < 0.1:
        return _value(rng)
    if kind < 0.3:
        return (dumps.sealed(rng.choice(dumps.BROKEN_BODIES)),)
    if kind < 0.5:
        size = rng.choice((1, 2, 4))
        return (dumps.sealed(dumps.integer(rng.randrange(-(1 << 8 * size - 1), 1 << 8 * size - 1), size)),)
    value = _value(rng)[0][:100]
    body = dumps.compressed(value) if kind < 0.7 and value else dumps.plain(value, rng.choice((2, 5, 9)))
    payload = dumps.sealed(body, version=rng.choice((10, 10, 10, 9, 6, 99)))
    return (payload if rng.random() < 0.9 else payload[: rng.randrange(len(payload))],)


def _seconds(rng: Random) -> Words:
    """A time to live: a long one, since the clocks of two servers don't agree to the millisecond."""
    return (b"%d" % rng.choice((1000, 5000, 100_000, 2**31)),) if rng.random() < 0.7 else _integer_but_short(rng)


def _integer_but_short(rng: Random) -> Words:
    number = _integer(rng)[0]
    return (number,) if number in NO_INTEGERS or not 0 < int(number) < 10**9 else (b"0",)


def _unix_time(unit: int) -> Maker:
    return lambda rng: (b"%d" % rng.choice((1, 4_000_000_000 * unit, 5_000_000_000 * unit)),)


def _optioned(option: bytes, number: Maker) -> Maker:
    return lambda rng: (option, *number(rng))


def _any_of(*makers: Maker) -> Maker:
    return lambda rng: rng.choice(makers)(rng)


_offset = _any_of(
    _choice(b"0", b"1", b"7", b"8", b"9", b"63", b"64", b"100", b"1000"),
    lambda rng: (b"%d" % rng.randint(0, 300),),
    _integer,
)
# Offsets near the limit of the servers under test, which is 1 MiB, in bytes and in bits.
_border_offset = _choice(b"1048575", b"1048576", b"1048570", b"8388607", b"8388608", b"4294967295", b"4294967296")
_field_type = _any_of(
    lambda rng: (b"%c%d" % (rng.choice(b"iu"), rng.randint(1, 64)),),
    _choice(b"u8", b"i8", b"u63", b"i64", b"u1", b"i1"),
    _choice(b"u64", b"i65", b"u0", b"i", b"x8", b"U8", b"u+8", b"u08", b"i-1", b"8", b"", b"i 8"),
)
_field_offset = _any_of(_offset, lambda rng: (b"#%d" % rng.randint(0, 40),), lambda rng: (b"%d" % rng.randint(0, 90),))
_field_get: Maker = lambda rng: (b"GET", *_field_type(rng), *_field_offset(rng))  # noqa: E731
_field_set: Maker = lambda rng: (  # noqa: E731
    rng.choice((b"SET", b"INCRBY")),
    *_field_type(rng),
    *_field_offset(rng),
    *_integer(rng),
)
_overflow: Maker = lambda rng: (b"OVERFLOW", rng.choice((b"WRAP", b"SAT", b"SAT", b"FAIL", b"FAIL", b"sat", b"NOSUCH")))  # noqa: E731

_score = _any_of(
    lambda rng: (b"%d" % rng.randint(-5, 5),),
    lambda rng: (b"%d" % rng.randint(-5, 5),),
    lambda rng: (b"%.2f" % rng.uniform(-5, 5),),
    _choice(b"inf", b"-inf", b"0", b"-0", b"0.1", b"1e17"),
    _float,
)


def _crowd(rng: Random) -> Words:
    """So many members, each behind its score, that they are no small sorted set any more."""
    return tuple(word for number in range(rng.choice((30, 70, 130))) for word in (*_score(rng), b"n%d" % number))


# Few places, so that distances are equal, and some from which others are near.
_geo_position = _any_of(
    _choice_of_words((b"0", b"0"), (b"13.361389", b"38.115556"), (b"15.087269", b"37.502669"), (b"180", b"-85.05112878")),
    lambda rng: (b"%.6f" % rng.uniform(-180, 180), b"%.6f" % rng.uniform(-85, 85)),
    lambda rng: (b"%.6f" % rng.uniform(13, 16), b"%.6f" % rng.uniform(37, 39)),
    lambda rng: (b"%.6f" % rng.uniform(13, 16), b"%.6f" % rng.uniform(37, 39)),
    lambda rng: (*_score(rng), *_score(rng)),
)
_length = _any_of(
    _choice(b"0", b"1", b"100", b"200", b"200", b"5000", b"20000", b"-1", b"inf"),
    lambda rng: (b"%.3f" % 10 ** rng.uniform(-3, 5),),
    lambda rng: (b"%.3f" % 10 ** rng.uniform(1, 4),),
    _float,
)
_geo_unit = _choice(b"m", b"km", b"km", b"km", b"km", b"ft", b"mi", b"KM", b"parsecs")
_geo_order = _any_of(
    _choice(b"ASC", b"DESC"),
    _optioned(b"COUNT", _small),
    lambda rng: (b"COUNT", b"%d" % rng.randint(1, 9), b"ANY"),
    _choice(b"ANY"),
)

# Few ids, so that commands meet; `99-*` lies ahead of most others.
_stream_id = _any_of(
    *[lambda rng: (b"%d-%d" % (rng.randint(1, 9), rng.randint(0, 3)),)] * 4,
    lambda rng: (b"99-%d" % rng.randint(0, 20),),
    lambda rng: (b"%d" % rng.randint(0, 100),),
    _choice(b"0-0", b"-", b"+", b"$", b">", b"(5", b"5-", b"-5", b"x", b"7-*", b"18446744073709551615", b"05-01", b"1-1-1"),
)
_stream_trim = _any_of(
    lambda rng: (b"MAXLEN", *rng.choice(((), (b"=",), (b"~",))), b"%d" % rng.randint(0, 12)),
    lambda rng: (b"MINID", *rng.choice(((), (b"=",), (b"~",))), *_stream_id(rng)),
    lambda rng: (b"MAXLEN", *_small(rng)),
)
_stream_limit = _optioned(b"LIMIT", _small)
_stream_count = _optioned(b"COUNT", _small)

_TIMES = (
    _optioned(b"EX", _seconds),
    _optioned(b"PX", lambda rng: (_seconds(rng)[0] + b"000",)),
    _optioned(b"EXAT", _unix_time(1)),
    _optioned(b"PXAT", _unix_time(1000)),
)

WORDS: dict[str, Maker] = {
    "key": _key,
    "value": _value,
    "integer": _integer,
    "small": _small,
    "database": _database,
    "float": _float,
    # Few of them, so that sets have some in common.
    "member": _choice(b"a", b"b", b"c", b"1", b"2", b"3", b"-5", b"007", b"", b"\0", b"a\1b", b"\xff", b"x" * 65),
    "number": lambda rng: (b"%d" % rng.randint(-20, 20),),
    "set-count": _any_of(_choice(b"1", b"2", b"2", b"2"), _small),
    "seconds": _seconds,
    "milliseconds": lambda rng: (_seconds(rng)[0] + b"000",),
    "ones": lambda rng: (rng.choice((b"\0", b"\xff")) * rng.randint(0, 9),),
    "offset": _any_of(_offset, _offset, _offset, _offset, _border_offset),
    "bit": _any_of(_choice(b"0"), _choice(b"1"), _choice(b"0"), _choice(b"1"), _integer),
    "pair": lambda rng: (*_key(rng), *_value(rng)),
    "set-option": _any_of(_choice(b"NX"), _choice(b"XX"), _choice(b"GET"), _choice(b"KEEPTTL"), *_TIMES),
    "getex-option": _any_of(_choice(b"PERSIST"), *_TIMES),
    "lcs-option": _any_of(
        _choice(b"LEN", b"IDX", b"WITHMATCHLEN"), _choice(b"IDX"), _choice(b"IDX"), _optioned(b"MINMATCHLEN", _small)
    ),
    "operation": _choice(b"AND", b"OR", b"XOR", b"NOT", b"and", b"NAND", b""),
    "unit": _choice(b"BIT", b"BYTE", b"bit", b"BITS"),
    "field": _any_of(_field_get, _field_set, _field_set, _overflow),
    "field-get": _any_of(_field_get, _field_get, _field_get, _field_get, _overflow, _field_set),
    "restore-option": _any_of(
        _choice(b"REPLACE"),
        _choice(b"REPLACE"),
        _choice(b"ABSTTL"),
        _optioned(b"IDLETIME", _small),
        _optioned(b"FREQ", _small),
    ),
    "lifetime": _any_of(_choice(b"0"), _choice(b"0"), lambda rng: (_seconds(rng)[0] + b"000",), _integer_but_short),
    "payload": _payload,
    "dump": _choice(*(dumps.sealed(dumps.integer(number, 4)) for number in range(5))),
    "copy-option": _any_of(
        _choice(b"REPLACE"), _choice(b"REPLACE"), _optioned(b"DB", _database), _optioned(b"DB", _database), _choice(b"DB")
    ),
    "condition": _choice(b"NX", b"XX", b"GT", b"LT", b"gt", b"NOSUCH"),
    # Not GT and LT, which of two times to live set in the same millisecond, or not quite, know another.
    "hyperloglog-question": _choice(b"GETREG", b"DECODE", b"ENCODING", b"encoding", b"TODENSE", b"NOSUCH"),
    "presence": _choice(b"NX", b"XX", b"nx"),
    "unix-seconds": _any_of(_unix_time(1), _unix_time(1), _unix_time(1), _integer_but_short),
    "unix-milliseconds": _any_of(_unix_time(1000), _unix_time(1000), _unix_time(1000), _integer_but_short),
    "pattern": _any_of(
        _choice(b"*", b"**", b"?", b"a", b"[a-c]", b"[^a]", b"*b*", b"number", b"n*r", b"long*", b"", b"\\?", b"[", b"*\xfe*"),
        lambda rng: (bytes(rng.choices(b"abnft*?[]^-\\\xff", k=rng.randint(0, 6))),),
    ),
    "end": _choice(b"LEFT", b"RIGHT", b"LEFT", b"RIGHT", b"left", b"Right", b"UP"),
    "before-or-after": _choice(b"BEFORE", b"AFTER", b"before", b"After", b"BEHIND"),
    "lpos-option": _any_of(
        _optioned(b"RANK", _small), _optioned(b"RANK", _integer), _optioned(b"COUNT", _small), _optioned(b"MAXLEN", _small)
    ),
    "score": _score,
    "scored": lambda rng: (*_score(rng), *WORDS["member"](rng)),
    "crowd": _crowd,
    "equal": lambda rng: (b"0", bytes(rng.choices(b"abcd", k=rng.randint(0, 3)))),
    "zadd-option": _choice(b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"ch"),
    "score-bound": _any_of(_score, _choice(b"-inf", b"+inf", b"", b"(", b" 1"), lambda rng: (b"(" + _score(rng)[0],)),
    "member-bound": _any_of(
        _choice(b"-", b"+"),
        lambda rng: (rng.choice((b"[", b"(")) + bytes(rng.choices(b"abcd", k=rng.randint(0, 3))),),
        _choice(b"", b"-x", b"a", b"[", b"("),
    ),
    "zrange-option": _any_of(
        _choice(b"REV", b"WITHSCORES", b"withscores"), lambda rng: (b"LIMIT", *_small(rng), *_small(rng))
    ),
    # No large number below zero, of which Redis makes as long a reply.
    "lots": _any_of(
        *[lambda rng: (b"%d" % rng.randint(-12, 12),)] * 4,
        _choice(*NO_INTEGERS, b"-9223372036854775808", b"9223372036854775807", b"4294967296"),
    ),
    "geo-position": _geo_position,
    "place": lambda rng: (*_geo_position(rng), *WORDS["member"](rng)),
    "distance": lambda rng: (*_length(rng), *_geo_unit(rng)),
    "geo-unit": _geo_unit,
    "geo-add-option": _choice(b"NX", b"XX", b"CH", b"ch"),
    "geo-from": _any_of(lambda rng: (b"FROMMEMBER", *WORDS["member"](rng)), lambda rng: (b"FROMLONLAT", *_geo_position(rng))),
    "geo-by": _any_of(
        lambda rng: (b"BYRADIUS", *_length(rng), *_geo_unit(rng)),
        lambda rng: (b"BYBOX", *_length(rng), *_length(rng), *_geo_unit(rng)),
    ),
    "geo-order": _geo_order,
    "geo-option": _any_of(_choice(b"WITHCOORD", b"WITHDIST", b"WITHHASH"), _geo_order),
    "geo-store-option": _any_of(_choice(b"STOREDIST"), _geo_order, _geo_order),
    "geo-store": _any_of(_optioned(b"STORE", _key), _optioned(b"STOREDIST", _key)),
    "extreme": _choice(b"MIN", b"MAX", b"max"),
    "zset-option": _any_of(
        lambda rng: (b"WEIGHTS", *_score(rng), *_score(rng)),
        _optioned(b"AGGREGATE", _choice(b"SUM", b"MIN", b"MAX", b"min", b"NOSUCH")),
        _choice(b"WITHSCORES"),
    ),
    "stream-id": _stream_id,
    "stream-id-ahead": _choice(b"99-*", b"99-*", b"99-*", b"8-*", b"100-*"),
    "stream-fields": _any_of(
        lambda rng: (b"f", *_value(rng)),
        lambda rng: (b"f", *_value(rng)),
        lambda rng: (b"f", *_value(rng), b"g", *_value(rng)),
        lambda rng: (*_value(rng), *_value(rng)),
    ),
    "stream-option": _any_of(_stream_trim, _stream_trim, _stream_limit, _choice(b"NOMKSTREAM", b"nomkstream")),
    "stream-trim": _stream_trim,
    "stream-limit": _stream_limit,
    "stream-count": _stream_count,
    "stream-bound": _any_of(_choice(b"-", b"+"), _stream_id, lambda rng: (b"(" + _stream_id(rng)[0],)),
    "stream-setid-option": _any_of(_optioned(b"ENTRIESADDED", _small), _optioned(b"MAXDELETEDID", _stream_id)),
    "xread-option": _any_of(_stream_count, _stream_count, _choice(b"NOACK", b"GROUP", b"BLOCK")),
    "scan-option": _any_of(
        lambda rng: (b"MATCH", *WORDS["pattern"](rng)),
        _optioned(b"TYPE", _choice(b"string", b"STRING", b"hash", b"", b"nosuch")),
        _optioned(b"COUNT", _choice(b"999", b"0", b"-1", b"x")),
    ),
}

# The commands at the end of a run, which ask for the state that it has left.
STATE: tuple[Words, ...] = tuple(
    words
    for key in KEYS
    for words in (
        (b"GET", key),
        (b"TTL", key),
        (b"STRLEN", key),
        (b"HGETALL", key),
        (b"LRANGE", key, b"0", b"-1"),
        (b"SMEMBERS", key),
        (b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),
        (b"XRANGE", key, b"-", b"+"),
    )
)

# A run of commands may take so many seconds more on one server than on the other.
_TIME_SLACK = 5


def _is_close(ours: bytes, theirs: bytes, slack: int) -> bool:
    if ours[:1] != b":" or theirs[:1] != b":":
        return False
    return abs(int(ours[1:]) - int(theirs[1:])) <= slack and min(int(ours[1:]), int(theirs[1:])) >= 0


def _has_the_same(ours: bytes, theirs: bytes) -> bool:
    """True if two aggregates of strings have the same members in any order, also those of an array within, as SCAN returns."""
    return ours[:1] == theirs[:1] and ours[:1] in b"*~%" and sorted(_strings(ours)) == sorted(_strings(theirs))


def _strings(reply: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(reply)
    found = reader.gets()
    # The pairs of a map are taken apart, too: that a value has another name, a later HGET shows.
    items = [each for pair in found.items() for each in pair] if isinstance(found, dict) else found
    return [word for item in items for word in (item if isinstance(item, list) else [item])]


def _is_scanned_alike(words: Words, ours: bytes, theirs: bytes) -> bool:
    """True if two scans of all that is there found the same. Of another scan only the form is compared: the order differs."""
    if (b"0", b"COUNT", b"1000") in (words[1:4], words[2:5]):
        return _has_the_same(ours, theirs)
    return ours[:4] == theirs[:4] == b"*2\r\n"


def _is_dumped_alike(ours: bytes, theirs: bytes) -> bool:
    """True if two payloads are of one type, and have the same bytes in any order, or Redis has compressed what ours has."""
    (_, _, ours), (_, _, theirs) = (reply.partition(b"\r\n") for reply in (ours, theirs))
    # A payload ends with a checksum of 8 bytes, and the line end.
    is_compressed = b"\xc3" in theirs and len(ours) > len(theirs)
    return ours[:1] == theirs[:1] and (is_compressed or sorted(ours[:-10]) == sorted(theirs[:-10]))


def _is_as_many(ours: bytes, theirs: bytes) -> bool:
    """True if both replies are strings, or arrays of the same length."""
    lines = [reply.partition(b"\r\n")[0] for reply in (ours, theirs)]
    return (lines[0] == lines[1] and lines[0][:1] in (b"*", b"~")) or all(
        line[:1] == b"$" and line != b"$-1" for line in lines
    )


# The comparisons that a case file may name for replies that need not be equal. Each gets the words, our reply and Redis's.
COMPARISONS: dict[str, Callable[[Words, bytes, bytes], bool]] = {
    "a few seconds apart": lambda words, ours, theirs: _is_close(ours, theirs, _TIME_SLACK),
    "a few thousand milliseconds apart": lambda words, ours, theirs: _is_close(ours, theirs, _TIME_SLACK * 1000),
    "the text that Redis compresses, or the same in another order": lambda words, ours, theirs: _is_dumped_alike(ours, theirs),
    "the same in another order": lambda words, ours, theirs: _has_the_same(ours, theirs),
    "as many of them": lambda words, ours, theirs: _is_as_many(ours, theirs),
    "the same in another order, or a part of it": _is_scanned_alike,
}


@dataclass(frozen=True)
class Rows:
    """The rows of which random commands are made, and the comparisons of replies."""

    rows: Sequence[str]
    # The names of COMPARISONS by the names of commands.
    similar: Mapping[bytes, str]
    # Words that are never sent.
    unsent: Container[Words]

    def commands(self, rng: Random, count: int) -> list[Words]:
        """Random commands of these rows, some of them wrong."""
        made: list[Words] = []
        while len(made) < count:
            words = _make(rng, rng.choice(self.rows))
            if rng.random() < 0.08:
                words = spoiled(rng, words)
            if tuple(word.upper() for word in words) not in self.unsent and not has_clock_id(words):
                made.append(words)
        return made

    def some(self, rng: Random) -> Rows:
        """Some of these rows, so that commands go deep rather than wide."""
        return replace(self, rows=rng.sample(self.rows, rng.randint(3, len(self.rows))))

    def is_same(self, words: Words, ours: bytes, theirs: bytes) -> bool:
        """True if our raw reply to a command and Redis's are equal, or alike if the command has a comparison."""
        if ours == theirs:
            return True
        how = self.similar.get(words[0].upper())
        return how is not None and COMPARISONS[how](words, ours, theirs)


_REPEATS = {"?": (0, 1), "*": (0, 3), "+": (1, 3)}


def _make(rng: Random, row: str) -> Words:
    words: list[bytes] = []
    for part in row.split():
        least, most = _REPEATS.get(part[-1], (1, 1))
        name = part.rstrip("?*+")
        for _ in range(rng.randint(least, most)):
            words += (name.encode(),) if name.isupper() or not name[0].isalpha() else WORDS[name](rng)
    return tuple(words)


def spoiled(rng: Random, words: Words) -> Words:
    """The command with a word lost, brought in, replaced or in another case."""
    kind = rng.random()
    position = rng.randint(1, len(words))
    if kind < 0.3:
        return words[: max(position, 1)]
    if kind < 0.5:
        return (*words[:position], rng.choice(AWKWARD), *words[position:])
    if kind < 0.8 and position < len(words):
        return (*words[:position], rng.choice(AWKWARD), *words[position + 1 :])
    return tuple(word.swapcase() if word.isalpha() and rng.random() < 0.5 else word for word in words)


def has_clock_id(words: Words) -> bool:
    """True if a command is an XADD that takes its id from the clock. Options are passed as Redis passes them."""
    rest = list(words[:1:-1]) if words[0].upper() == b"XADD" else []
    while rest:
        word = rest.pop()
        option = word.upper()
        if option in (b"MAXLEN", b"MINID"):
            if rest and rest[-1] in (b"=", b"~"):
                rest.pop()
            del rest[-1:]
        elif option == b"LIMIT":
            del rest[-1:]
        elif option != b"NOMKSTREAM":
            return word == b"*"
    return False


def show(words: Words) -> str:
    """The command for a person to read, with long words shortened."""
    return " ".join(repr(word)[1:] if len(word) <= 100 else f"{word[:100]!r}…({len(word)})" for word in words)
