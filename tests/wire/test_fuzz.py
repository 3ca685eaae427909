"""Random bytes, in streams, conversations and damaged commands, are read as by redis-server; none crash or hurt others.

KVSERVER_PARSER_FUZZ_COUNT streams are read by kvserver's parser in process and by redis-server, some thousands a second: each
goes over a Unix socket of its own, many at a time. The replies that redis-server must give follow from the commands that our
parser found: ECHO's argument, or the error for an unknown command, which names its arguments.
KVSERVER_FUZZ_COUNT conversations are compared with redis-server's, and ten times as many commands of the case files are
damaged.
"""

from __future__ import annotations

import os
import random
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from helpers.casefiles import conversations
from helpers.conversations import MARK, MARK_REPLY, PROTOCOLS, say, send_in_parts
from helpers.random_commands import spoiled
from helpers.servers import DEADLINE_S, ServerProcess, Wire, encode
from kvserver.commands.catalogue import COMMANDS
from kvserver.dispatch.command import unknown_command, wrong_arity
from kvserver.resp.reply import Error
from kvserver.resp.request import Request, RequestParser, StrictParser

COUNT = int(os.environ.get("KVSERVER_PARSER_FUZZ_COUNT", "4000"))
SEED = int(os.environ.get("KVSERVER_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
AT_ONCE = 64
# One stream of so many is split at every byte, which takes most of the time.
EVERY_SPLIT_OF = max(16, COUNT // 5000)

# There is no NUL among them: Redis stops reading a line at one, and waits.
LETTERS = [bytes([byte]) for byte in range(1, 256)]
ODD = [*b"$*:+-_#%~>|=(,!0123456789 \t'\"\\xabecho\r\n\xff\x80"]
LENGTHS = (b"-1", b"0", b"1", b"2", b"3", b"10", b"11", b"01", b"+1", b"1 ", b"", b"x", b"1_0", b"99999999999999999999",
           b"\xb2", b"2147483648", b"536870913", b"9223372036854775808", b"-9223372036854775808", b"1.0", b"0x1")  # fmt: skip
WORDS = (b"", b"a", b"k\r\n", b"*1\r\n", b"$3\r\n", b"'", b'"', b"\\x41", b"\xff\xfe", b"0", b"xyz" * 50, b"\r", b"\n", b" ")


def a_word(rng: random.Random) -> bytes:
    chance = rng.random()
    if chance < 0.6:
        return rng.choice(WORDS)
    if chance < 0.9:
        return b"".join(rng.choices(LETTERS, k=rng.randrange(12)))
    return b"v" * rng.randrange(300)


def a_request(rng: random.Random) -> bytes:
    if rng.random() < 0.7:
        return encode(rng.choice((b"ECHO", b"echo")), a_word(rng))
    return encode(*(a_word(rng) for _ in range(rng.randrange(1, 5))))


def an_inline(rng: random.Random) -> bytes:
    words = rng.choices(
        (b"echo", b'"a b"', b"'c\\'d'", b"\\", b"e", b" ", b"\t", b'"\\x4', b"'", b'"', b"\x0b", b"\xff"),
        k=rng.randrange(1, 5),
    )
    return rng.choice((b"", b"echo ")) + rng.choice((b" ", b"")).join(words) + rng.choice((b"\r\n", b"\n", b"\r\r\n"))


# Behind so long a command, arguments are cut out by their lengths.
LONG = encode("ECHO", b"w" * 1000)


def a_header(rng: random.Random) -> bytes:
    line = rng.choice((b"*", b"*1\r\n$", b"*2\r\n$4\r\nECHO\r\n$", b"*3\r\n$", b"$", b"*1\r\n:", b"*1\r\n*"))
    return line + rng.choice(LENGTHS) + rng.choice((b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\rx"))


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A byte or a few lost, doubled, changed or brought in, anywhere, line ends as well."""
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at] + data[at + rng.randrange(1, 4) :]
    if kind == 1:
        return data[:at] + data[max(0, at - rng.randrange(1, 9)) :]
    return data[:at] + bytes([rng.choice(ODD)]) + data[at + (kind == 2) :]


def a_stream(rng: random.Random) -> bytes:
    pieces = []
    for _ in range(rng.randrange(1, 7)):
        chance = rng.random()
        piece = a_request(rng) if chance < 0.7 else an_inline(rng) if chance < 0.85 else a_header(rng)
        pieces.append(damaged(rng, piece) if rng.random() < 0.25 else piece)
    if rng.random() < 0.02:
        pieces.append(b"".join(rng.choices(LETTERS, k=rng.randrange(200))))
    if rng.random() < 0.05:
        pieces.insert(0, LONG)
    # So many bytes are more than Redis reads at once.
    elif rng.random() < 0.02:
        pieces.insert(0, LONG * rng.randrange(1, 40))
    return b"".join(pieces)


def read(parser: StrictParser, *chunks: bytes) -> tuple[list[Request], str]:
    commands = []
    for chunk in chunks:
        commands += parser.feed(chunk)
        while parser.has_unread:
            commands += parser.feed(b"")
    return commands, str(parser.failure or "")


def expected_reply(command: Request) -> bytes:
    if command[0].lower() != b"echo":
        return Error(str(unknown_command(command))).wire
    if len(command) != 2:
        return Error(str(wrong_arity("echo"))).wire
    return b"$%d\r\n%b\r\n" % (len(command[1]), command[1])


def expected_replies(commands: list[Request], failure: str) -> bytes:
    replies = b"".join(map(expected_reply, commands))
    return replies + Error(f"ERR Protocol error: {failure}").wire if failure else replies


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, frozenset[bytes]]]:
    """The Unix socket of a redis-server, and the names of its commands other than ECHO."""
    folder = tmp_path_factory.mktemp("redis")
    path = folder / "s"
    with ServerProcess("redis-server", folder, "--save", "", "--unixsocket", str(path)) as server:
        names = Wire(server.port)
        with names:
            known = {name.partition(b"|")[0] for name in names.value("COMMAND", "LIST")}
        # Redis also takes these for attacks, and closes.
        yield path, frozenset(known - {b"echo"} | {b"post", b"host:"})


def send(path: Path, stream: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE_S)
    client.connect(str(path))
    # The server may have closed the connection already.
    with suppress(ConnectionError):
        client.sendall(stream)
        client.shutdown(socket.SHUT_WR)
    return client


def receive(client: socket.socket) -> bytes:
    chunks = []
    with client, suppress(ConnectionError):
        while chunk := client.recv(1 << 16):
            chunks.append(chunk)
    return b"".join(chunks)


def test_random_streams_are_read_as_redis_reads_them(oracle: tuple[Path, frozenset[bytes]]) -> None:
    path, known = oracle
    rng = random.Random(SEED)
    pending: list[tuple[socket.socket, bytes, bytes]] = []
    failures = compared = 0

    def compare() -> None:
        for client, stream, expected in pending:
            theirs = receive(client)
            assert theirs == expected, f"KVSERVER_FUZZ_SEED={SEED}: {stream!r}"
        pending.clear()

    for index in range(COUNT):
        stream = a_stream(rng)
        found = read(RequestParser(), stream)
        assert found == read(StrictParser(), stream), f"KVSERVER_FUZZ_SEED={SEED}: {stream!r}"
        cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(2))
        places = range(len(stream)) if index % EVERY_SPLIT_OF == 0 and len(stream) < 500 else cuts[:1]
        for at in places:
            assert read(RequestParser(), stream[:at], stream[at : cuts[1]], stream[max(at, cuts[1]) :]) == found, (
                f"KVSERVER_FUZZ_SEED={SEED}, cut at {at} and {cuts[1]}: {stream!r}"
            )
        if any(command[0].lower() in known for command in found[0]):
            continue
        compared += 1
        failures += bool(found[1])
        pending.append((send(path, stream), stream, expected_replies(*found)))
        if len(pending) == AT_ONCE:
            compare()
        if index % 100_000 == 99_999:
            print(f"{index + 1} streams so far", flush=True)
    compare()
    print(f"{COUNT} streams, {compared} compared with redis-server, {failures} of them refused by both")
    assert compared > COUNT * 9 // 10
    assert failures > COUNT // 10


# Of which a stream can be made that hiredis reads and Redis does not, with every count as it should be.
TOKENS = [b"*1\r\n", b"*2\r\n", b"$1\r\n", b"$2\r\n", b"a", b"a\r", b"\r\n", b"\n", b"\n*", b"\n$", b"xx", b"~1\r\n",
          b"=7\r\n", b"=5\r\n", b"\r\n$:", b"\r\n*:", b"txt:", b"+a\r\n", b">1\r\n", b"%1\r\n", b"|1\r\n", b"(1\r\n",
          b"$0\r\n", encode("ECHO", "a"), encode("A")]  # fmt: skip


def test_fast_and_strict_parser_agree_on_streams_of_tokens() -> None:
    """Also on what comes next, for each of both: that is what they remember of the stream."""
    rng = random.Random(SEED)
    for _ in range(2 * COUNT):
        stream = (
            rng.choice((*TOKENS[-2:], LONG))
            + b"".join(rng.choices(TOKENS, k=rng.randrange(1, 12)))
            + rng.choice((b"", b"\r\n"))
        )
        for more in ((), (encode("NEXT"),)):
            strict = read(StrictParser(), stream, *more)
            assert read(RequestParser(), stream, *more) == strict, f"KVSERVER_FUZZ_SEED={SEED}: {stream!r}"


def test_random_bytes_make_no_parser_grow() -> None:
    """NULs as well: at one in a line, Redis would wait."""
    rng = random.Random(SEED)
    tracemalloc.start()
    try:
        for _ in range(COUNT // 4):
            parser = RequestParser()
            stream = damaged(rng, a_stream(rng).replace(b"a", b"\0")) + rng.randbytes(rng.randrange(40))
            read(parser, stream)
            assert parser.pending_bytes <= 2 * len(stream) + 100 * stream.count(b"\r"), f"{SEED}: {stream!r}"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_expected_replies_follow_the_rules(oracle: tuple[Path, frozenset[bytes]]) -> None:
    """Guards the comparison above against one that compares nothing."""
    stream = encode("ECHO", "a") + b"nosuch b\r\n" + encode("ECHO") + b"*x\r\n" + encode("ECHO", "lost")
    assert (
        receive(send(oracle[0], stream))
        == expected_replies(*read(RequestParser(), stream))
        == (
            b"$1\r\na\r\n"
            b"-ERR unknown command 'nosuch', with args beginning with: 'b' \r\n"
            b"-ERR wrong number of arguments for 'echo' command\r\n"
            b"-ERR Protocol error: invalid multibulk length\r\n"
        )
    )


# --- random bytes

CONVERSATIONS = int(os.environ.get("KVSERVER_FUZZ_COUNT", "400"))


def random_word(rng: random.Random) -> bytes:
    choices: list[Callable[[], bytes]] = [
        lambda: rng.choice([b"k", b"l", b"m"]),
        lambda: b"%d" % rng.randrange(-2, 12),
        lambda: rng.randbytes(rng.randrange(6)),
        lambda: b"x" * rng.randrange(2000),
        lambda: rng.choice([b"\r\n", b"*1\r\n", b"$3\r\n", b"'", b'"', b"\\", b""]),
    ]
    return rng.choice(choices)()


def random_request(rng: random.Random) -> bytes:
    """Mostly a good command that both servers know; never one whose reply depends on the server."""
    name = rng.choice([b"SET", b"GET", b"DEL", b"EXISTS", b"DBSIZE", b"PING", b"ECHO", b"SELECT", b"FLUSHALL", b"RESET"])
    arity = {b"SET": 2, b"DBSIZE": 0, b"PING": 0, b"FLUSHALL": 0, b"RESET": 0}.get(name, 1)
    if rng.random() < 0.1:
        arity = rng.randrange(3)
    if rng.random() < 0.05:
        name = b"nosuch" + random_word(rng)[:20]
    return encode(name, *(random_word(rng) for _ in range(arity)))


def random_inline(rng: random.Random) -> bytes:
    letters = b"abz019 '\"\\x \t*$+-:\xff"
    line = bytes(rng.choice(letters) for _ in range(rng.randrange(30)))
    return rng.choice([b"ECHO ", b"SET ", b"GET ", b"zz", b""]) + line + rng.choice([b"\r\n", b"\n"])


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One byte lost, doubled or changed. Line ends stay: Redis takes any byte for a feed behind a return."""
    places = [at for at, byte in enumerate(data) if byte not in b"\r\n"]
    if not places:
        return data
    at = rng.choice(places)
    kind = rng.randrange(3)
    if kind == 0:
        return data[:at] + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[at : at + 1] * 2 + data[at + 1 :]
    return data[:at] + bytes([rng.choice(b"$*:+-_#%,0123456789 axA\x80\xff")]) + data[at + 1 :]


def random_conversation(rng: random.Random) -> bytes:
    pieces = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.random()
        piece = random_inline(rng) if kind < 0.15 else random_request(rng)
        pieces.append(mutated(rng, piece) if kind > 0.85 else piece)
    return b"".join(pieces)


def test_random_conversations_get_the_replies_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    rng = random.Random(SEED)
    compared = 0
    for index in range(CONVERSATIONS):
        payload, protocol = random_conversation(rng), rng.choice(PROTOCOLS)
        # A mutation may bring a NUL into a line, where Redis's C strings end.
        if b"\0" in payload:
            continue
        ours, theirs = (say(server, payload, protocol) for server in (kvserver, redis_oracle))
        assert ours == theirs, f"KVSERVER_FUZZ_SEED={SEED}, conversation {index}, RESP{protocol}: {payload!r}"
        compared += 1
    assert compared > CONVERSATIONS // 4


def test_random_conversations_in_random_parts_get_the_same_replies(kvserver: ServerProcess) -> None:
    """The end of a read decides which parser goes on; the replies must not show it."""
    rng = random.Random(SEED)
    with kvserver.connect() as other:
        for index in range(CONVERSATIONS):
            payload = random_conversation(rng) + encode("ECHO", MARK)
            other.command("FLUSHALL")
            with kvserver.connect() as wire:
                wire.send(payload)
                wire.half_close()
                expected = wire.read_until_eof()
            cuts = [0, *sorted(rng.choices(range(len(payload)), k=rng.randrange(1, 6))), len(payload)]
            other.command("FLUSHALL")
            with kvserver.connect() as wire:
                send_in_parts(wire, other, [payload[start:end] for start, end in pairwise(cuts)])
                wire.half_close()
                same = wire.read_until_eof() == expected
            assert same, f"KVSERVER_FUZZ_SEED={SEED}, conversation {index} cut at {cuts}: {payload!r}"


# Beginnings of commands that are not damaged, and why.
UNDAMAGED: dict[tuple[bytes, ...], str] = {
    (b"SHUTDOWN",): "the server may leave",
    (b"DEBUG",): "the server may sleep for years, or spoil its file on purpose",
    (b"CONFIG", b"SET"): "settings may be such that nobody is served",
    (b"ACL", b"SETUSER"): "the default user may be such that nobody is served",
    (b"CLIENT", b"PAUSE"): "nobody is served meanwhile",
    (b"CLIENT", b"KILL"): "the connection may end",
    (b"QUIT",): "the connection ends",
    (b"WAIT",): "the client may wait for ever",
    (b"REPLICAOF",): "the server may follow another one, and take no writes",
    (b"SLAVEOF",): "the same",
    **{
        (name.upper(),): "the client may wait for ever, or the server for the end of a script"
        for name, command in COMMANDS.items()
        if "blocking" in command.flags or command.group == "scripting"
    },
    (b"HOST:",): "the connection ends, since only a browser would send it",
}


def damageable() -> list[tuple[bytes, ...]]:
    """The commands of the case files that a server may be sent in any form."""
    return [
        words
        for conversation in conversations()
        for words in dict.fromkeys(conversation.requests)
        if sum(map(len, words)) < 5000
        and not any(tuple(word.upper() for word in words[: len(beginning)]) == beginning for beginning in UNDAMAGED)
    ]


def test_damaged_commands_of_the_case_files_end_no_connection(kvserver: ServerProcess) -> None:
    """Behind each, RESET ends what it may have begun: a transaction, a subscription, replies that are held back."""
    rng, all_words = random.Random(SEED), damageable()
    end = b"+RESET\r\n" + MARK_REPLY
    with kvserver.connect() as wire:
        for index in range(10 * CONVERSATIONS):
            words = spoiled(rng, rng.choice(all_words))
            for _ in range(rng.randrange(3)):
                words = spoiled(rng, words)
            wire.send(encode(*words) + encode("RESET") + encode("ECHO", MARK))
            heard = b""
            with suppress(EOFError):
                while not heard.endswith(MARK_REPLY):
                    heard += wire.read_reply()
            assert heard.endswith(end), f"KVSERVER_FUZZ_SEED={SEED}, command {index}: {words!r}"
    kvserver.check_log()


def test_random_bytes_hurt_nobody(kvserver: ServerProcess) -> None:
    rng = random.Random(SEED)
    with kvserver.connect() as witness:
        for index in range(CONVERSATIONS):
            payload = rng.randbytes(rng.randrange(1, 3000))
            if rng.random() < 0.5:
                payload = mutated(rng, random_conversation(rng)) + payload
            with kvserver.connect() as wire:
                with suppress(ConnectionError):
                    wire.send(payload)
                wire.half_close()
                wire.read_until_eof()
            assert witness.command("PING") == b"+PONG\r\n", f"KVSERVER_FUZZ_SEED={SEED}, {index}: {payload!r}"
    kvserver.check_log()
