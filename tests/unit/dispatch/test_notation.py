"""A notation gives arity, keys, COMMAND DOCS and options from one text, for every command of redis-server."""

from __future__ import annotations

import random
from typing import Any

import pytest

from helpers.servers import ServerProcess, parse
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.notation import Notation, OptionParser, read
from kvserver.errors import CommandError
from kvserver.resp.reply import encode
from kvserver.state.description import KeySpecification


def replied(reply: Any) -> Any:
    """A reply as a RESP2 client sees it."""
    return parse(encode(reply, 2))


def described(notation: str) -> Any:
    """As a RESP3 client sees it, but for sets, which hiredis gives as lists."""
    return parse(encode(Notation(notation).describe(), 3))


# --- COMMAND DOCS ---


def test_notation_says_all_that_an_argument_has() -> None:
    assert described("key:key#1 X=bits:integer?++!@6.2.0 GET ALPHA=sorting:pure-token ==equal:pure-token name:not-key") == [
        {b"name": b"key", b"type": b"key", b"key_spec_index": 1},
        {
            b"name": b"bits",
            b"type": b"integer",
            b"token": b"X",
            b"since": b"6.2.0",
            b"flags": [b"optional", b"multiple", b"multiple_token"],
        },
        {b"name": b"get", b"type": b"pure-token", b"token": b"GET"},
        {b"name": b"sorting", b"type": b"pure-token", b"token": b"ALPHA"},
        {b"name": b"equal", b"type": b"pure-token", b"token": b"="},
        {b"name": b"name", b"type": b"string"},
    ]


def test_notation_nests() -> None:
    assert described("one<NX|pair{a b:double}>?") == [
        {
            b"name": b"one",
            b"type": b"oneof",
            b"flags": [b"optional"],
            b"arguments": [
                {b"name": b"nx", b"type": b"pure-token", b"token": b"NX"},
                {
                    b"name": b"pair",
                    b"type": b"block",
                    b"arguments": [{b"name": b"a", b"type": b"string"}, {b"name": b"b", b"type": b"double"}],
                },
            ],
        }
    ]


def test_docs_tell_nothing_of_what_excludes_each_other_in_parentheses() -> None:
    assert described("(A=a?|B=b?) C?!") == described("A=a? B=b? C?")


@pytest.mark.parametrize("notation", ["a>", "one<a", "<a>", "a}b", "?", "(a", "a)", "a{b>"])
def test_what_is_no_notation_is_an_error(notation: str) -> None:
    with pytest.raises(ValueError, match=r"has|lacks"):
        read(notation)


# --- All of Redis ---

# Their arity is not that of their arguments: Redis counts fewer, or takes words that its documentation does not tell of.
OTHER_ARITY = {
    "command|getkeys": -4,
    "command|getkeysandflags": -4,
    "debug": -2,
    "geohash": -2,
    "geopos": -2,
    "pfmerge": -2,
    "psync": -3,
    "quit": -1,
    "replconf": -1,
}
# `KEYS` is looked for from the end there.
OTHER_KEYS = {"migrate"}


def pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def notation_of(arguments: list[Any], between: str = " ") -> str:
    """The notation of what COMMAND DOCS tells as a command's arguments."""
    return between.join(_notation_of_one({name.decode(): value for name, value in pairs(flat).items()}) for flat in arguments)


def _notation_of_one(argument: dict[str, Any]) -> str:
    name, kind, token = argument["name"].decode(), argument["type"].decode(), argument.get("token")
    prefix = "" if token is None else f"{token.decode()}="
    if kind == "oneof":
        text = f"{prefix}{name}<{notation_of(argument['arguments'], '|')}>"
    elif kind == "block":
        text = f"{prefix}{name}{{{notation_of(argument['arguments'])}}}"
    else:
        text = f"{prefix}{name}:{kind}" + (f"#{argument['key_spec_index']}" if "key_spec_index" in argument else "")
    flags = argument.get("flags", [])
    text += "?" * (b"optional" in flags) + "+" * (b"multiple" in flags) + "+" * (b"multiple_token" in flags)
    return text + (f"@{argument['since'].decode()}" if "since" in argument else "")


@pytest.fixture(scope="module")
def of_redis(running_redis: ServerProcess) -> dict[str, tuple[list[Any], dict[bytes, Any]]]:
    """COMMAND INFO and COMMAND DOCS of redis-server, by the name of each command and subcommand that is no container."""
    infos: dict[str, list[Any]] = {}
    documents: dict[str, dict[bytes, Any]] = {}

    def add_info(info: list[Any]) -> None:
        if not info[9]:
            infos[info[0].decode()] = info
        for subcommand in info[9]:
            add_info(subcommand)

    def add_document(flat: list[Any]) -> None:
        for name, fields in pairs(flat).items():
            documents[name.decode()] = pairs(fields)
            add_document(documents[name.decode()].get(b"subcommands", []))

    for info in parse(running_redis.once("COMMAND")):
        add_info(info)
    add_document(parse(running_redis.once("COMMAND", "DOCS")))
    return {name: (info, documents[name]) for name, info in infos.items()}


def access_of(specifications: list[Any]) -> str:
    """The access that a notation is given for its keys, from the key specifications in COMMAND INFO."""
    found = []
    for flat in specifications:
        fields = pairs(flat)
        unknown = ["?"] if pairs(fields[b"begin_search"])[b"type"] == b"unknown" else []
        found.append(" ".join([*unknown, *(flag.decode() for flag in fields[b"flags"])]))
    return "; ".join(found)


def test_notation_of_every_command_of_redis_says_what_redis_says(
    of_redis: dict[str, tuple[list[Any], dict[bytes, Any]]],
) -> None:
    assert len(of_redis) > 300
    for name, (info, documents) in of_redis.items():
        arguments = documents.get(b"arguments", [])
        text = notation_of(arguments)
        if access_of(info[8]) == "not_key":
            text = text.replace("shardchannel:string", "shardchannel:not-key")
        notation = Notation(text, access_of(info[8]), start=1 + name.count("|"))
        # That an argument is deprecated is not told, which is so of one in all of Redis.
        expected = [pairs(flat) for flat in arguments]
        if name != "client|kill":
            assert [pairs(flat) for flat in replied(notation.describe())] == expected, name
        assert OTHER_ARITY.get(name, notation.arity) == info[1], name
        if name in OTHER_KEYS:
            continue
        notes = [pairs(flat).get(b"notes", b"").decode() for flat in info[8]]
        shown = [each.describe(note) for each, note in zip(notation.key_specifications, notes, strict=True)]
        assert replied(shown) == info[8], name
        assert list(notation.key_range) == info[3:6], name
        assert notation.has_movable_keys == (b"movablekeys" in info[2]), name


def test_arity_of_every_exception_is_another_than_the_notation_says(
    of_redis: dict[str, tuple[list[Any], dict[bytes, Any]]],
) -> None:
    for name, arity in OTHER_ARITY.items():
        notation = Notation(notation_of(of_redis[name][1].get(b"arguments", [])), start=1 + name.count("|"))
        assert notation.arity != arity, name


def test_every_command_of_redis_has_options_that_can_be_read(
    of_redis: dict[str, tuple[list[Any], dict[bytes, Any]]],
) -> None:
    for name, (_, documents) in of_redis.items():
        assert Notation(notation_of(documents.get(b"arguments", [])), start=1 + name.count("|")).options, name


# --- Keys ---


@pytest.mark.parametrize(
    "words",
    [
        ("GET", "a"),
        ("MSET", "a", "1", "b", "2"),
        ("BLPOP", "a", "b", "0"),
        ("LCS", "a", "b", "LEN"),
        ("BITOP", "and", "d", "a", "b"),
        ("OBJECT|ENCODING", "a"),
        ("ZUNIONSTORE", "d", "2", "a", "b", "WEIGHTS", "1", "2"),
        ("ZUNION", "2", "a", "b", "WITHSCORES"),
        ("EVAL", "return 1", "2", "a", "b", "c"),
        ("XREAD", "COUNT", "2", "STREAMS", "a", "b", "0", "0"),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", "b", "0", "0"),
    ],
    ids=" ".join,
)
def test_keys_of_a_call_are_where_redis_finds_them(
    redis_oracle: ServerProcess, of_redis: dict[str, tuple[list[Any], dict[bytes, Any]]], words: tuple[str, ...]
) -> None:
    name, *rest = words
    request = [word.encode() for word in (*name.split("|"), *rest)]
    info, documents = of_redis[name.lower()]
    text = notation_of(documents[b"arguments"]).replace("shardchannel:string", "shardchannel:not-key")
    specifications = Notation(text, access_of(info[8]), start=1 + name.count("|")).key_specifications
    found = [request[place] for each in specifications for place in each.positions(request)]
    assert found == parse(redis_oracle.once("COMMAND", "GETKEYS", *request))


def test_old_range_ends_where_keys_are_not_one_behind_the_other() -> None:
    notation = Notation("a:key other b:key#1", "RO access; OW update")
    assert notation.key_range == (1, 1, 1)
    assert notation.has_movable_keys


def test_a_number_of_keys_that_is_none_is_an_error() -> None:
    (specification,) = Notation("numkeys:integer key:key+", "RO access").key_specifications
    assert list(specification.positions([b"zdiff", b"2", b"a", b"b", b"c"])) == [2, 3]
    for number in (b"3", b"x", b"-1"):
        with pytest.raises(CommandError, match="Invalid arguments"):
            specification.positions([b"zdiff", number, b"a", b"b"])


def test_what_a_call_does_with_its_keys_is_told_by_the_access() -> None:
    specifications = Notation("a:key b:key#1 c:key#2", "RO access; OW update; RM delete").key_specifications
    assert [each.writes for each in specifications] == [False, True, True]
    assert specifications[1] == KeySpecification(("OW", "update"), 2)


@pytest.mark.parametrize(("text", "access"), [("a:key b:key#1", "RO"), ("a", "RO"), ("a:key", "RO; OW")])
def test_access_that_does_not_fit_the_notation_is_an_error(text: str, access: str) -> None:
    with pytest.raises(ValueError, match="has"):
        _ = Notation(text, access).key_specifications


# --- Options ---

NOT_POSITIVE = "ERR syntax error"


def at_least_one(word: bytes) -> int:
    number = integer(word)
    if number < 1:
        raise CommandError(NOT_POSITIVE)
    return number


def options_of(text: str, *words: str, **converters: Any) -> Any:
    return Notation(text, converters=converters).options.parse([b"name", *(word.encode() for word in words)])


GETEX = "key:key expiration<EX=seconds:integer|PX=milliseconds:integer|EXAT=seconds:integer|PXAT=ms:integer|PERSIST>?"


def test_options_are_read_in_any_order_and_case() -> None:
    options = options_of("key:key NX? COUNT=count:integer? LIMIT=pair{offset count}?", "k", "limit", "1", "2", "Count", "3")
    assert "NX" not in options
    assert "COUNT" in options
    assert options["COUNT"] == b"3"
    assert options.get("MATCH") is None
    assert options.words("LIMIT") == [b"1", b"2"]
    assert options.words("NX") == []


def test_last_of_repeated_options_counts_and_those_with_their_own_word_add_up() -> None:
    options = options_of("key:key GET=pattern?++ COUNT=count?", "k", "GET", "a", "COUNT", "1", "GET", "b", "COUNT", "2")
    assert options.words("GET") == [b"a", b"b"]
    assert options["COUNT"] == b"2"


def test_one_of_a_group_is_chosen() -> None:
    options = options_of(GETEX, "k", "px", "5", "PX", "6")
    assert options.chosen("expiration") == "PX"
    assert options["PX"] == b"6"
    assert options_of(GETEX, "k").chosen("expiration") is None
    with pytest.raises(CommandError, match="syntax error"):
        options_of(GETEX, "k", "PX", "5", "PERSIST")


def test_what_stands_in_parentheses_excludes_each_other() -> None:
    assert options_of("key:key (A=a?|B=b?)", "k", "A", "1", "A", "2")["A"] == b"2"
    with pytest.raises(CommandError, match="syntax error"):
        options_of("key:key (A=a?|B=b?)", "k", "A", "1", "B", "2")


def test_what_is_given_once_is_given_once() -> None:
    assert "SYNC" in options_of("async<ASYNC|SYNC>?!", "sync")
    with pytest.raises(CommandError, match="syntax error"):
        options_of("async<ASYNC|SYNC>?!", "SYNC", "SYNC")


def test_numbers_are_converted_as_they_are_met() -> None:
    text = "cursor COUNT=count:integer? TYPE=type?"
    options = options_of(text, "0", "COUNT", "3", COUNT=at_least_one)
    assert options.number("COUNT", 10) == 3
    assert options.number("TYPE", 10) == 10
    with pytest.raises(CommandError, match="not an integer"):
        options_of(text, "0", "COUNT", "x", "NOSUCH", COUNT=at_least_one)
    with pytest.raises(CommandError, match="syntax error"):
        options_of(text, "0", "NOSUCH", "COUNT", "x", COUNT=at_least_one)
    assert options_of("LIMIT=pair{a:integer b:integer}?", "LIMIT", "1", "2", LIMIT=integer).numbers("LIMIT") == [1, 2]
    assert options_of("BY=n:integer?++", "BY", "1", "BY", "2", BY=integer).numbers("BY") == [1, 2]


def test_conversion_of_no_option_is_an_error_of_the_notation() -> None:
    with pytest.raises(ValueError, match="NOSUCH"):
        options_of("key:key NX?", "k", NOSUCH=integer)


def test_options_end_where_other_arguments_begin() -> None:
    zadd = "key:key condition<NX|XX>? CH=change:pure-token? score_member{score:double member}+"
    options = options_of(zadd, "k", "nx", "CH", "1", "a")
    assert options.chosen("condition") == "NX"
    assert options.end == 4


def test_options_behind_any_number_of_arguments_begin_where_the_caller_says() -> None:
    zunion = Notation("numkeys:integer key:key+ WEIGHTS=weight:integer?+ AGGREGATE=aggregate<SUM|MIN|MAX>? WITHSCORES?")
    request = [b"zunion", b"2", b"a", b"b", b"WEIGHTS", b"1", b"2", b"aggregate", b"min"]
    options = zunion.options.parse(request, start=4, several=2)
    assert options.words("WEIGHTS") == [b"1", b"2"]
    assert options["AGGREGATE"] == b"min"
    with pytest.raises(CommandError, match="syntax error"):
        zunion.options.parse([b"zunion", b"1", b"a", b"AGGREGATE", b"avg"], start=3)
    with pytest.raises(CommandError, match="syntax error"):
        zunion.options.parse([b"zunion", b"1", b"a", b"WEIGHTS"], start=3)
    with pytest.raises(TypeError, match="depends on the call"):
        zunion.options.parse(request)


def test_options_nest() -> None:
    listing = "FILTERBY=filterby<MODULE=module-name|ACLCAT=category|PATTERN=pattern:pattern>?!"
    assert options_of(listing, "filterby", "pattern", "x").chosen("filterby") == "PATTERN"
    search = "by<circle{BYRADIUS=radius:double unit<M|KM>}|box{BYBOX=width height unit<M|KM>}> count{COUNT=count ANY?}?"
    options = options_of(search, "ANY", "BYBOX", "1", "2", "KM", "COUNT", "3")
    assert options.words("BYBOX") == [b"1", b"2", b"KM"]
    assert "ANY" in options
    for words in (["FILTERBY"], ["FILTERBY", "NOSUCH", "x"], ["FILTERBY", "MODULE"], ["FILTERBY", "MODULE", "a"] * 2):
        with pytest.raises(CommandError, match="syntax error"):
            options_of(listing, *words)


def _between(least: int, most: int, error: str) -> Any:
    def convert(word: bytes) -> int:
        number = integer(word)
        if not least <= number <= most:
            raise CommandError(error)
        return number

    return convert


# The arguments in front of the options, the words that these are made of, and the reply where the options are well-formed.
FUZZED: dict[str, tuple[list[str], list[str], bytes, dict[str, Any]]] = {
    "getex": (["k"], ["EX", "PX", "EXAT", "PXAT", "PERSIST", "persist", "KEEPTTL", "1", "x"], b"$-1\r\n", {}),
    "set": (["k", "v"], ["NX", "xx", "GET", "EX", "ex", "PX", "KEEPTTL", "EXAT", "100"], b"", {}),
    "copy": (
        ["k", "l"],
        ["DB", "db", "REPLACE", "0", "15", "16", "x"],
        b":0\r\n",
        {"DB": _between(0, 15, "ERR DB index is out of range")},
    ),
    "lcs": (["k", "l"], ["IDX", "LEN", "MINMATCHLEN", "withmatchlen", "3", "x"], b"", {"MINMATCHLEN": integer}),
    "scan": (
        ["0"],
        ["MATCH", "COUNT", "count", "TYPE", "string", "0", "3"],
        b"*2\r\n$1\r\n0\r\n*0\r\n",
        {"COUNT": at_least_one},
    ),
    "restore": (
        ["k", "-1", "payload"],
        ["REPLACE", "ABSTTL", "IDLETIME", "FREQ", "freq", "-1", "3", "x"],
        b"-ERR Invalid TTL value, must be >= 0\r\n",
        {
            "IDLETIME": _between(0, 2**63 - 1, "ERR Invalid IDLETIME value, must be >= 0"),
            "FREQ": _between(0, 255, "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        },
    ),
    "flushdb": ([], ["ASYNC", "sync", "x"], b"+OK\r\n", {}),
    "memory|usage": (
        ["k"],
        ["SAMPLES", "samples", "1", "-1", "x"],
        b"$-1\r\n",
        {"SAMPLES": _between(0, 2**63 - 1, "ERR syntax error")},
    ),
}  # fmt: skip
# What Redis's documentation does not tell.
NOTATIONS = {
    "restore": "key:key ttl:integer serialized-value REPLACE? ABSTTL? (IDLETIME=seconds:integer?|FREQ=frequency:integer?)",
    "flushdb": "async<ASYNC|SYNC>?!",
}


def error_of(parser: OptionParser, request: list[bytes]) -> str:
    """The error that the options of a call are; empty, if they are none."""
    try:
        parser.parse(request)
    except CommandError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FUZZED)
def test_options_are_those_that_redis_takes(
    redis_oracle: ServerProcess, of_redis: dict[str, tuple[list[Any], dict[bytes, Any]]], name: str
) -> None:
    """Byte for byte, the first of several errors included."""
    in_front, vocabulary, otherwise, converters = FUZZED[name]
    text = NOTATIONS.get(name) or notation_of(of_redis[name][1][b"arguments"])
    parser: OptionParser = Notation(text, start=1 + name.count("|"), converters=converters).options
    chance = random.Random(name)
    outcomes = set()
    with redis_oracle.connect() as wire:
        for _ in range(400):
            request = [*name.split("|"), *in_front, *chance.choices(vocabulary, k=chance.randrange(6))]
            theirs = wire.command(*request)
            ours = error_of(parser, [word.encode() for word in request])
            outcomes.add(ours)
            if ours:
                assert f"-{ours}\r\n".encode() == theirs, request
            else:
                assert theirs == otherwise if otherwise else theirs != b"-ERR syntax error\r\n", request
            wire.command("FLUSHALL")
    assert len(outcomes) > 1
