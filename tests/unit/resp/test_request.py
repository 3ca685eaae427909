"""The fast way reads what the strict parser reads, and nobody allocates what a client merely declares."""

from __future__ import annotations

import itertools
import random
import re
import tracemalloc
from collections.abc import Iterable, Sequence
from unittest import mock

import hiredis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvserver._speedups.requests import split_arguments
from kvserver.errors import ProtocolError
from kvserver.resp import request as module
from kvserver.resp.request import Request, RequestParser, StrictParser, request_bytes, requests_bytes, split_inline

MEGABYTE = 1 << 20
LONG_ARGUMENT_BYTES = 16 * MEGABYTE

Outcome = tuple[list[Request], str]


def pack(*arguments: bytes) -> bytes:
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in arguments)


def parse(parser: StrictParser, chunks: Iterable[bytes]) -> Outcome:
    """All commands, and the text of the failure or nothing."""
    commands: list[Request] = []
    for chunk in chunks:
        found = parser.feed(chunk)
        while parser.has_unread:
            found += parser.feed(b"")
        assert all(type(command) is list and command for command in found)
        assert all(type(argument) is bytes for command in found for argument in command)
        commands += found
    return commands, str(parser.failure or "")


def whole(data: bytes) -> list[bytes]:
    return [data]


def split_at(data: bytes, *positions: int) -> list[bytes]:
    bounds = [0, *positions, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds) if start < end]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


# --- What is read ---

GOOD = [
    [b"PING"],
    [b"SET", b"key", b"value"],
    [b"SET", b"", b"*1\r\n$4\r\nPING\r\n"],
    [b"GET", b"\r\n$1\r\n*"],
    [b"SET", b"\xff\0", b"x" * 5_000],
    [b"MSET", *(b"%d" % number for number in range(30))],
]


@pytest.mark.parametrize("parser", [StrictParser, RequestParser])
@pytest.mark.parametrize("command", GOOD, ids=lambda command: repr(command)[:30])
def test_command_is_read_as_it_was_sent(parser: type[StrictParser], command: Request) -> None:
    assert parse(parser(), [pack(*command)]) == ([command], "")
    assert parse(parser(), [pack(*command) * 3]) == ([command] * 3, "")
    assert parse(parser(), byte_by_byte(pack(*command))) == ([command], "")


def test_pipeline_split_at_every_byte_is_the_same_commands() -> None:
    data = pack(b"SET", b"k", b"v\r\n") + b"PING\r\n" + pack(b"GET", b"") + b"*0\r\n\r\n" + pack(b"ECHO", b"$3\r\n*1\r\n")
    expected = [[b"SET", b"k", b"v\r\n"], [b"PING"], [b"GET", b""], [b"ECHO", b"$3\r\n*1\r\n"]]
    for position in range(len(data)):
        for parser in (StrictParser(), RequestParser()):
            assert parse(parser, split_at(data, position)) == (expected, "")


@pytest.mark.parametrize("most_bytes", [90, 3_000])
def test_long_stream_cut_anywhere_is_the_same_commands(most_bytes: int) -> None:
    """As a fast client sends it: many commands a read, the last one cut."""
    commands = [[b"SET", b"key:%d" % number, b"v" * (7 * number % most_bytes)] for number in range(400)]
    data = b"".join(pack(*command) for command in commands)
    source = random.Random(3)
    for _ in range(100):
        cuts = sorted(source.sample(range(1, len(data)), 8))
        assert parse(RequestParser(), split_at(data, *cuts)) == (commands, "")


@pytest.mark.parametrize("count", [33, 1_234, 9_999, 10_000, 12_345])
def test_command_of_many_arguments_is_whole(count: int) -> None:
    command = [b"MGET", *(b"k%d" % number for number in range(count - 1))]
    assert parse(RequestParser(), [pack(*command) + pack(b"PING")]) == ([command, [b"PING"]], "")


def test_parser_is_idle_again_behind_a_stream_that_was_cut() -> None:
    for count in range(1, 300, 3):  # some of them leave no step for what is behind them, which needs none
        data = pack(b"MGET", *[b"k"] * count) + pack(b"PING") * 3
        parser = RequestParser()
        commands = parser.feed(data[:10]) + parser.feed(data[10:])
        while len(commands) < 4:
            commands += parser.feed(b"")
        assert parser.is_idle
        assert not parser.has_unread


def test_usual_read_does_not_take_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(parser: StrictParser) -> None:
        raise AssertionError("parsed in Python")

    monkeypatch.setattr(StrictParser, "_next", refuse)
    commands = [[b"SET", b"key", b"value"], [b"GET", b"key"]] * 50
    long = [[b"SET", b"key", b"x" * 1_000], [b"MSET", *[b"x" * 1_000] * 40]] * 10
    for chosen in (commands[:1], commands, long[:1], long, long + commands * 20):
        assert parse(RequestParser(), [b"".join(pack(*command) for command in chosen)]) == (chosen, "")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*1\r\n:4\r\n", "expected '$', got ':'"),
        (b"*1\r\n\r\n", "expected '$', got '\r'"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        (b"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*+1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"* 1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*1_0\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*-9223372036854775809\r\n", "invalid multibulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$4 \r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b'"unbalanced\r\n', "unbalanced quotes in request"),
        (b"x" * (64 * 1024 + 1), "too big inline request"),
        (b"*" + b"1" * (64 * 1024 + 1), "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (64 * 1024 + 1), "too big bulk count string"),
    ],
    ids=lambda part: repr(part[:20]),
)
def test_what_is_no_request_is_told_in_redis_words_after_what_came_before(data: bytes, text: str) -> None:
    lost = pack(b"LOST") if data.endswith(b"\n") else b""
    for parser in (StrictParser(), RequestParser()):
        assert parse(parser, [pack(b"PING") + data + lost]) == ([[b"PING"]], text)
        assert parser.feed(pack(b"PING")) == [], "reads on after a failure"
        assert isinstance(parser.failure, ProtocolError)
    if len(data) < 100:
        assert parse(RequestParser(), byte_by_byte(data)) == ([], text)


@pytest.mark.parametrize("data", [b"*0\r\n", b"*-1\r\n", b"*-9223372036854775808\r\n", b"\r\n", b"\n", b"  \r\n"])
def test_empty_commands_are_left_out(data: bytes) -> None:
    for chunks in (whole(data), byte_by_byte(data), [pack(b"A") + data + pack(b"B")], [data + pack(b"A" * 2_000) + b"*1\r\n"]):
        commands, failure = parse(RequestParser(), chunks)
        assert not failure
        assert all(commands)
        assert commands == parse(StrictParser(), chunks)[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"PING", [b"PING"]),
        (b"  SET  k\tv  ", [b"SET", b"k", b"v"]),
        (b"", []),
        (b'SET k "a b"', [b"SET", b"k", b"a b"]),
        (rb'SET k "\x00\xff\n\r\t\b\a\"\\\q"', [b"SET", b"k", b'\x00\xff\n\r\t\b\a"\\q']),
        (rb'"\xg0"', [b"xg0"]),
        (rb"SET k 'a\'b\n'", [b"SET", b"k", rb"a'b\n"]),
        (b'a"b"', [b"ab"]),
        (b'""', [b""]),
        (b"''", [b""]),
    ],
)
def test_inline_words_are_split_as_redis_splits_them(line: bytes, words: list[bytes]) -> None:
    assert split_inline(line) == words


@pytest.mark.parametrize("line", [b'"', b"'", b'"a', b'"a"b', b"'a'b", rb'"a\"', rb"'a\'"])
def test_unbalanced_quotes_are_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="unbalanced quotes"):
        split_inline(line)


def test_arguments_are_cut_out_only_as_long_as_they_are_long() -> None:
    short = pack(b"PING") * 10_000
    commands, rest = split_arguments(LONG + short)
    assert 100 < len(commands) < 2_000
    assert short.endswith(rest)
    assert len(parse(RequestParser(), [LONG + short])[0]) == 10_001


def test_no_call_reads_many_requests_and_none_is_lost() -> None:
    sent = [[b"SET", b"key:%d" % number, b"v" * (number % 90)] for number in range(9_000)]
    data = b"".join(pack(*words) for words in sent)
    parser, found, sizes = RequestParser(), parse(RequestParser(), [data])[0], []
    assert found == sent
    held = len(data)
    commands = parser.feed(data[:-10])
    while parser.has_unread:
        assert not parser.is_idle
        assert held > parser.buffered_bytes, "what is held was sent, and gets less"
        held = parser.buffered_bytes
        sizes.append(len(commands))
        assert sizes[-1] < 3_000
        commands = parser.feed(b"")
    assert len(sizes) > 3
    assert parser.feed(data[-10:] + pack(b"PING")) == [sent[-1], [b"PING"]]
    assert parser.is_idle


def test_requests_that_come_while_some_are_unread_stand_behind_them() -> None:
    parser = RequestParser()
    found = parser.feed(pack(b"A") * 5_000) + parser.feed(pack(b"B") * 5_000)
    while parser.has_unread:
        found += parser.feed(b"")
    assert found == [[b"A"]] * 5_000 + [[b"B"]] * 5_000


def test_client_that_must_authenticate_now_is_limited_in_what_is_unread() -> None:
    parser = RequestParser()
    assert len(parser.feed(pack(b"PING") * 5_000 + pack(*[b"a"] * 11))) < 5_000
    parser.limit(1 << 20, authenticated=False)
    assert parser.feed(b"") == [[b"PING"]]
    while parser.has_unread:
        assert parser.feed(b"") in ([[b"PING"]], [])
    assert str(parser.failure) == "unauthenticated multibulk length"


# --- The fast way against the strict one ---

LINES = (
    b"*1 *2 *0 *-1 *01 *3 $0 $1 $2 $4 $-1 $01  a ab PING %1 %0 ~1 ~0 >1 |1 =5 =7 txt:a $:abc *:abc #f #t :0 :1 "
    b",0 ,0.0 (0 _ +OK + -ERR !1 $ * '"
).split(b" ")
lines = st.lists(st.sampled_from(LINES), max_size=12).map(lambda parts: b"".join(part + b"\r\n" for part in parts))
arguments = st.sampled_from(
    [b"", b"a", b"SET", b"\r\n", b"\r\n$", b"\r\n*", b"*12345", b"$1\r\na\r\n", b"\0\xff"]
) | st.binary(max_size=5)
commands_sent = st.lists(arguments, max_size=4).map(lambda parts: pack(*parts))
# So long that what comes next is cut out by its length, instead of divided into lines.
LONG = pack(b"SET", b"k", b"x" * 1_100)
long_command = st.just(LONG)
pieces = st.one_of(
    commands_sent, commands_sent, lines, long_command, st.binary(max_size=4), st.sampled_from([b"PING\r\n", b"\n", b"\r\n"])
)
streams = st.lists(pieces, max_size=6).map(b"".join)


def agree(chunks: Sequence[bytes]) -> None:
    """In what they find, and in what they make of what comes next: that shows what they remember."""
    for more in ([], [pack(b"NEXT")], [b"$1\r\na\r\n" * 2 + pack(b"NEXT")]):
        assert parse(RequestParser(), [*chunks, *more]) == parse(StrictParser(), [*chunks, *more])


@settings(max_examples=500)
@given(streams)
@example(pack(b"PING") + b"%1\r\n$1\r\na\r\n*0\r\n")
@example(pack(b"PING") + b"#f\r\n" + pack(b"PING"))
@example(pack(b"PING") * 2 + b":0\r\n")
@example(pack(b"PING") * 2 + b",0\r\n")
@example(pack(b"PING") + b"*1\r\n=7\r\n\r\n$:abc\r\n")
# A line too few beside a line too many, and the lines that begin with `$` likewise.
@example(pack(b"PING") + b"*2\r\n+a\r\n=7\r\n\r\nx:abc\r\n")
@example(pack(b"PING") + b"*2\r\n+a\r\n=7\r\n\r\n$:abc\r\n")
@example(pack(b"PING") + b"*2\r\n+a\r\n$4\r\nx\r\n$\r\n")
@example(pack(b"x" * 1_100) + b"*0\r\n" + b"*1\r\n")
@example(pack(b"PING") * 200 + b"*0\r\n" + b"*1\r\n$4\r\nPI")
@example(b"*1\r\n$3\r\nfooxx" + pack(b"PING"))
# A set, behind a bulk whose end makes it look like an array.
@example(pack(b"PING") + b"*1\r\n$2\r\na\r\n*~1\r\n$1\r\na\r\n")
@example(b"*1\r\n$2\r\na\r\n*~1\r\n$1\r\na\r\n" + pack(b"PING"))
@example(LONG + b"*1\r\n$-1\r\n" + pack(b"PING"))
@example(LONG + b"*2\r\n$4\r\nPING\r\n$-2\r\n" + pack(b"PING"))
@example(LONG + b"*1\r\n$01\r\na\r\n")
@example(LONG + b"*01\r\n$1\r\na\r\n")
# An argument that looks like the line of an array.
@example(pack(b"PING") + b"|1\r\n$2\r\n*1\r\n$1\r\na\r\n")
@example(pack(b"PING") + b"*2\r\n$1\r\n$\r\n+a\r\n" + b"$0\r\n\r\n")
# A verbatim string behind a bulk without its line break.
@example(pack(b"PING") + b"*2\r\n$1\r\naxx=7\r\n\r\n$:abc\r\n")
# A bulk without its line break, and the start of an array that makes up for it.
@example(b"*1\r\n$3\r\nfoo\rx" + pack(b"PING") + b"*2\r\n")
@example(b"*1\r\n$3\r\nfooxx" + pack(b"PING") + b"*2\r\n$1\r\na\r\n")
def test_fast_and_strict_parser_agree(data: bytes) -> None:
    if data:
        agree(whole(data))


@settings(max_examples=500)
@given(lines)
def test_fast_and_strict_parser_agree_on_lines_behind_commands(data: bytes) -> None:
    for start in (b"*1\r\n", pack(b"PING"), pack(b"PING") * 2, LONG):
        agree(whole(start + data))


@settings(max_examples=150)
@given(streams.filter(bool), st.data())
def test_fast_and_strict_parser_agree_on_streams_that_come_in_pieces(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    agree(split_at(data, *cuts))


@settings(max_examples=60)
@given(streams.map(lambda data: data[:150]).filter(bool))
def test_no_split_changes_what_is_read(data: bytes) -> None:
    expected = parse(StrictParser(), whole(data))
    assert parse(StrictParser(), byte_by_byte(data)) == expected
    assert parse(RequestParser(), byte_by_byte(data)) == expected
    for position in range(len(data)):
        assert parse(RequestParser(), split_at(data, position)) == expected, f"split at {position}"


@settings(max_examples=300)
@given(st.lists(commands_sent, min_size=1, max_size=3).map(b"".join), st.data())
def test_fast_and_strict_parser_agree_on_damaged_pipelines(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(start + 3, len(data))))
    data = data[:start] + draw.draw(st.binary(max_size=3) | lines) + data[end:]
    if data:
        agree(whole(data))
        agree(whole(pack(b"PING") + data))
        agree(whole(LONG + data))


def test_failure_of_one_client_leaves_the_next_one_alone() -> None:
    for damage in (
        b"*1\r\n$4\r\nPI",
        b"*2\r\n$4\r\nPING\r\n",
        b"*1\r\n:1\r\n",
        pack(b"PING") + b"*1\r\n*1\r\n*1\r\n",
        b"*1\r\n$-1\r\n",
    ):
        RequestParser().feed(damage)
        assert parse(RequestParser(), [pack(b"PING")]) == ([[b"PING"]], "")
        assert parse(RequestParser(), [pack(b"PING") * 2]) == ([[b"PING"]] * 2, "")


# --- What a client declares ---


@pytest.mark.parametrize(
    "claim",
    [
        b"*100000000\r\n",
        b"*2147483647\r\n",
        b"*1\r\n$500000000\r\n",
        b"*1\r\n*20000000\r\n",
        b"*1\r\n>20000000\r\n",
        b"*1\r\n~20000000\r\n",
        b"*1\r\n%20000000\r\n",
        b"*1\r\n|20000000\r\n",
        b"*+20000000\r\n",
        b"*9999\r\n" * 9,
        b"*1\r\n" * 8 + b">20000000\r\n",
        b"*0\r\n*1\r\n~20000000\r\n",
    ],
)
@pytest.mark.parametrize(
    "before",
    [b"", pack(b"PING"), pack(b"x" * 1_100), b"*1\r\n$3\r\nfooxx", b"*1\r\n$1100\r\n" + b"x" * 1_102],
    ids=["alone", "behind", "behind-long", "behind-no-line-break", "behind-long-and-no-line-break"],
)
def test_nothing_is_allocated_that_is_merely_declared(before: bytes, claim: bytes) -> None:
    parser = RequestParser()
    tracemalloc.start()
    try:
        parser.feed(before + claim)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MEGABYTE
    assert parser.pending_bytes < MEGABYTE


@pytest.mark.patches_compiled
@settings(max_examples=150)
@given(streams.filter(bool), st.data(), st.integers(0, 20))
@example(pack(b"SET", b"k", b"x" * 100) + pack(b"PING"), None, 20)
def test_gathered_arguments_are_what_the_strict_parser_reads_of_a_whole(
    data: bytes, draw: st.DataObject | None, length: int
) -> None:
    expected = parse(StrictParser(), whole(data))
    positions = st.lists(st.integers(0, len(data)), max_size=6)
    pieces = split_at(data, *sorted(draw.draw(positions))) if draw else byte_by_byte(data)
    with mock.patch.object(module, "LONG_ARGUMENT_BYTES", length):
        for parser in (StrictParser(), RequestParser()):
            assert parse(parser, pieces) == expected


@pytest.mark.parametrize("size", [1 << 18, 100_000, 65_537])
def test_long_argument_is_copied_once_and_takes_what_has_come_of_it(size: int) -> None:
    argument = bytes(range(256)) * (LONG_ARGUMENT_BYTES // 256)
    data = pack(b"SET", b"key", argument) + pack(b"GET", b"key")
    reads = [data[start : start + size] for start in range(0, len(data), size)]
    parser = RequestParser()
    commands: list[Request] = []
    tracemalloc.start()
    try:
        for number, read in enumerate(reads):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            commands += parser.feed(read)
            held, peak = tracemalloc.get_traced_memory()
            # A buffer that grows by an eighth, and nothing beside it.
            assert held < 1.15 * number * size + 8 * size, number
            assert peak - before < before / 7 + 8 * size, number
            assert len(commands) == 2 or number * size <= parser.pending_bytes <= (number + 1) * size + 200
    finally:
        tracemalloc.stop()
    assert commands == [[b"SET", b"key", argument], [b"GET", b"key"]]
    assert parser.pending_bytes == 0
    assert parser.is_idle


def test_pending_bytes_tell_what_an_unfinished_command_holds() -> None:
    parser = RequestParser()
    parser.feed(b"*100\r\n$10000\r\n" + b"x" * 5_000)
    assert 5_000 <= parser.pending_bytes < 10_000
    parser.feed(b"x" * 5_000 + b"\r\n" + b"$0\r\n\r\n" * 50)
    assert 10_000 + 50 * 8 <= parser.pending_bytes < 20_000, "a million empty arguments must count too"
    parser.feed(b"$0\r\n\r\n" * 49)
    assert parser.pending_bytes == 0


# --- What takes long ---


@pytest.mark.parametrize(
    "piece",
    [b"\n", b"*0\r\n", b"PING\r\n", b"a" * 5000 + b"\n", b'"a" ' * 1000 + b"\n", pack(b"A") + b"PING\n", b"*-1\r\n"],
)
def test_strict_parsing_stops_early_and_goes_on_where_it_was(piece: bytes) -> None:
    """So that one client's odd bytes hold up nobody else."""
    parser = RequestParser()
    data = piece * (200_000 // len(piece))
    calls, commands = 1, parser.feed(data)
    while parser.has_unread:
        found = parser.feed(b"")
        assert len(found) <= 256
        commands += found
        calls += 1
    assert calls > 9  # of a long line, one call
    assert commands == read_at_once(data)
    assert parser.is_idle


def read_at_once(data: bytes) -> list[Request]:
    """The commands of lines and arrays of one word, by other means."""
    words = [line.replace(b'"', b"").split() for line in re.sub(rb"\*1\r\n\$1\r\n|\*0\r\n|\*-1\r\n", b"", data).split(b"\n")]
    return [word for word in words if word]


def test_command_of_many_arguments_is_parsed_in_several_calls() -> None:
    arguments = [b"%d" % number for number in range(20_000)]
    parser = StrictParser()
    data = pack(*arguments) + pack(b"PING")
    commands = parser.feed(data)
    calls = 1
    while parser.has_unread:
        commands += parser.feed(b"")
        calls += 1
    assert commands == [arguments, [b"PING"]]
    assert calls > 50


# --- Limits ---


def limited(max_bulk_bytes: int = MEGABYTE, *, authenticated: bool) -> RequestParser:
    parser = RequestParser()
    parser.limit(max_bulk_bytes, authenticated)
    return parser


def test_argument_over_the_limit_is_refused_once_it_is_declared() -> None:
    assert parse(limited(authenticated=True), [b"*1\r\n$%d\r\n" % MEGABYTE]) == ([], "")
    assert parse(limited(authenticated=True), [b"*1\r\n$%d\r\n" % (MEGABYTE + 1)]) == ([], "invalid bulk length")


@pytest.mark.parametrize(
    ("allowed", "refused", "text"),
    [
        (b"*10\r\n", b"*11\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16384\r\n", b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ],
)
def test_client_that_must_authenticate_first_may_declare_little(allowed: bytes, refused: bytes, text: str) -> None:
    assert parse(limited(authenticated=False), [allowed]) == ([], "")
    assert parse(limited(authenticated=False), [refused]) == ([], text)
    assert parse(limited(authenticated=True), [refused]) == ([], "")


def test_lifted_limit_holds_for_what_comes_next() -> None:
    parser = limited(authenticated=False)
    assert parser.feed(pack(b"AUTH", b"secret")) == [[b"AUTH", b"secret"]]
    parser.limit(MEGABYTE, authenticated=True)
    assert parser.feed(pack(*[b"x"] * 11)) == [[b"x"] * 11]


def test_commands_behind_auth_in_one_read_wait_for_what_auth_gives() -> None:
    """A pipeline of AUTH and a command that only an authenticated client may send."""
    long = [b"ECHO", b"x" * 20_000]
    for chunks in (whole(pack(b"AUTH", b"secret") + pack(*long)), split_at(pack(b"AUTH", b"secret") + pack(*long), 40)):
        parser = limited(authenticated=False)
        commands = parser.feed(chunks[0])
        assert commands == [[b"AUTH", b"secret"]]
        assert parser.has_unread
        parser.limit(MEGABYTE, authenticated=True)
        found = parser.feed(b"")
        assert not parser.has_unread
        for chunk in chunks[1:]:
            found += parser.feed(chunk)
        assert found == [long]
        assert parser.failure is None


def test_bytes_of_requests_are_those_that_were_sent() -> None:
    requests = [[b"SET", b"k", b"v" * length] for length in (0, 9, 10, 999, 1000, 1023)]
    requests += [[b"DEL", *(b"%d" % number for number in range(150))], [b"PING"]]
    assert requests_bytes([]) == 0
    for some in (requests, [*requests, [b"SET", b"k", b"v" * 1024], [b"MSET", *[b"x"] * 2000]]):
        sent = b"".join(hiredis.pack_command(tuple(request)) for request in some)  # type: ignore[arg-type]
        assert requests_bytes(some) == sum(map(request_bytes, some)) == len(sent)
