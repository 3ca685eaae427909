"""Random sequences of commands, sent to kvserver and to redis-server: the replies are the same, byte for byte.

KVSERVER_DIFFERENTIAL_COUNT is the number of commands, KVSERVER_DIFFERENTIAL_SEED the first seed. A failure names the
seed of its run of commands, which begins with empty servers, and shows the commands of that run that name the same key.
KVSERVER_CONVERSATIONS_COUNT and KVSERVER_CONVERSATIONS_SEED are those of two clients that take turns.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import random_commands
from helpers.casefiles import families, random_rows
from helpers.random_commands import KEYS, STATE, WORDS, Words, has_clock_id, show
from helpers.servers import ServerProcess, StartServer, Wire, encode, split_replies

COUNT = int(os.environ.get("KVSERVER_DIFFERENTIAL_COUNT", "20000"))
SEED = int(os.environ.get("KVSERVER_DIFFERENTIAL_SEED", "1"))
CONVERSATIONS_COUNT = int(os.environ.get("KVSERVER_CONVERSATIONS_COUNT", "60"))
CONVERSATIONS_SEED = int(os.environ.get("KVSERVER_CONVERSATIONS_SEED", "1"))
# The commands between two looks at empty servers are sent at once: they must fit into the sockets' buffers.
RUN = 250
ROWS, TURNS = random_rows(), random_rows(turns=True)
OPTIONS = ("--save", "", "--appendonly", "no", "--proto-max-bulk-len", "1mb")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """kvserver and redis-server, whose strings have at most 1 MiB, so that their limits can be reached."""
    with (
        ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *OPTIONS) as ours,
        ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *OPTIONS) as theirs,
    ):
        yield ours, theirs


def converse(wire: Wire, words: list[Words]) -> list[bytes]:
    wire.send(b"".join(encode(*command) for command in words))
    return [wire.read_reply() for _ in words]


def compare(ours: Wire, theirs: Wire, sent: list[Words], label: str) -> None:
    replies = [converse(wire, [(b"FLUSHALL",), *sent])[1:] for wire in (ours, theirs)]
    for position, (words, one, other) in enumerate(zip(sent, *replies, strict=True)):
        if not ROWS.is_same(words, one, other):
            keys = set(words[1:]) & set(KEYS)
            history = [
                (before, reply) for before, reply in zip(sent[:position], replies[1], strict=False) if keys & set(before)
            ]
            lines = [f"    {show(before)} -> {reply[:60]!r}" for before, reply in history[-12:]]
            pytest.fail(
                f"{label}, command {position}\n"
                + "\n".join(lines)
                + f"\n    {show(words)}\nkvserver: {one[:300]!r}\n   redis: {other[:300]!r}",
                pytrace=False,
            )


@pytest.mark.timeout(120 + COUNT / 50)
def test_random_commands_get_the_replies_of_redis(servers: tuple[ServerProcess, ServerProcess]) -> None:
    wires = {protocol: [server.connect() for server in servers] for protocol in (2, 3)}
    for wire in wires[3]:
        wire.command("HELLO", 3)
    try:
        for run in range(-(-COUNT // RUN)):
            seed = SEED + run
            rng = random.Random(seed)
            sent = ROWS.some(rng).commands(rng, RUN)
            protocol = rng.choice((2, 3))
            ours, theirs = wires[protocol]
            compare(ours, theirs, [*sent, *STATE], f"KVSERVER_DIFFERENTIAL_SEED={seed}, RESP{protocol}")
    finally:
        for wire in (*wires[2], *wires[3]):
            wire.close()


def test_random_commands_in_transactions_get_the_replies_of_redis(servers: tuple[ServerProcess, ServerProcess]) -> None:
    """Some are refused when they are queued, which ends their transaction; all others give what they give without one."""
    completed = 0
    with servers[0].connect() as ours, servers[1].connect() as theirs:
        for seed in range(SEED, SEED + COUNT // 100):
            sent = ROWS.commands(random.Random(seed), 8)
            whole = [(b"MULTI",), *sent, (b"EXEC",)]
            label = f"KVSERVER_DIFFERENTIAL_SEED={seed}"
            (*queued, one), (*queued_theirs, other) = (converse(wire, whole) for wire in (ours, theirs))
            assert queued == queued_theirs, label
            if other.startswith(b"-EXECABORT"):
                assert one == other, label
                continue
            completed += 1
            pairs = zip(sent, elements(one), elements(other), strict=True)
            for words, reply, expected in pairs:
                assert ROWS.is_same(words, reply, expected), f"{label}: {show(words)}: {reply!r} instead of {expected!r}"
    assert completed > COUNT // 500


def elements(array: bytes) -> list[bytes]:
    """The raw replies in an array."""
    return split_replies(array.partition(b"\r\n")[2])


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_what_random_commands_have_left_is_there_after_a_kill(start_server: StartServer, tmp_path: Path, seed: int) -> None:
    """Each write is in the journal in a form that gives the same again, whatever command it was."""
    options = ("--save", "", "--appendfsync", "always", "--proto-max-bulk-len", "1mb")
    sent = ROWS.commands(random.Random(seed), 4 * RUN)
    # When a key expires, where STATE asks for how long it is there yet: a start may take seconds.
    of_one = [(b"PEXPIRETIME", *rest) if name == b"TTL" else (name, *rest) for name, *rest in STATE]
    state = [words for number in (b"0", b"1", b"2") for words in ((b"SELECT", number), *of_one)]
    server = start_server(*options, directory=tmp_path)
    with server.connect() as wire:
        for start in range(0, len(sent), RUN):
            converse(wire, sent[start : start + RUN])
        before = converse(wire, state)
    server.kill()
    with start_server(*options, directory=tmp_path).connect() as wire:
        after = converse(wire, state)
    for words, one, other in zip(state, after, before, strict=True):
        assert one == other, f"KVSERVER_DIFFERENTIAL_SEED={seed}: {show(words)}: {one!r} was {other!r}"


def test_rows_of_every_family_make_all_its_commands() -> None:
    rng = random.Random(SEED)
    for family in families().values():
        if rows := family.rows + family.turns:
            made = replace(ROWS, rows=rows).commands(rng, 500)
            assert {words[0].upper() for words in made} == {row.split()[0].encode() for row in rows}, family.name
    assert all(maker(rng) for maker in WORDS.values())


@pytest.mark.parametrize(
    ("text", "is_clocks"),
    [
        ("XADD k * f v", True),
        ("xadd k NOMKSTREAM maxlen ~ 10 LIMIT 5 * f v", True),
        ("XADD k MINID = 5-1 * f v", True),
        ("XADD k MAXLEN * * f v", True),
        ("XADD k MAXLEN", False),
        ("XADD k MAXLEN * 99-* f v", False),
        ("XADD k 99-* * *", False),
        ("XADD * 99-1 f v", False),
        ("XADD *", False),
        ("XADD", False),
        ("XRANGE k * +", False),
    ],
)
def test_command_whose_reply_the_clock_tells_is_known(text: str, is_clocks: bool) -> None:
    assert has_clock_id(tuple(text.encode().split())) == is_clocks


def test_no_entry_of_a_stream_gets_its_id_from_the_clock_and_the_star_stays_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_commands, "AWKWARD", (b"*",))
    made = replace(ROWS, rows=["XADD key stream-option* stream-id-ahead stream-fields"]).commands(random.Random(SEED), 2_000)
    assert not any(map(has_clock_id, made))
    # Some forty are expected.
    assert sum(b"*" in words for words in made) > 10


def test_comparison_sees_what_differs() -> None:
    assert ROWS.is_same((b"GET", b"k"), b"$1\r\nv\r\n", b"$1\r\nv\r\n")
    assert not ROWS.is_same((b"GET", b"k"), b"$1\r\nv\r\n", b"$1\r\nw\r\n")
    assert ROWS.is_same((b"TTL", b"k"), b":1000\r\n", b":999\r\n")
    assert not ROWS.is_same((b"ttl", b"k"), b":1000\r\n", b":100\r\n")
    assert not ROWS.is_same((b"TTL", b"k"), b":-1\r\n", b":-2\r\n")


# --- random transactions of several clients


def random_step(rng: random.Random) -> Words:
    return (TURNS if rng.random() < 0.43 else ROWS).commands(rng, 1)[0]


class Told:
    """The replies that a client had from both servers, compared command by command, in its transactions too."""

    def __init__(self) -> None:
        self._queued: list[Words] = []

    def is_same(self, words: Words, ours: bytes, theirs: bytes) -> bool:
        if theirs == b"+QUEUED\r\n":
            self._queued.append(words)
            return ours == theirs
        is_end = words[0].upper() in (b"EXEC", b"DISCARD") and len(words) == 1
        if not is_end and not theirs.startswith(b"-EXECABORT"):
            return ROWS.is_same(words, ours, theirs)
        queued, self._queued = self._queued, []
        if theirs[:1] != b"*" or theirs == b"*-1\r\n":
            return ours == theirs
        pairs = zip(queued, elements(ours), elements(theirs), strict=True)
        return all(ROWS.is_same(*each) for each in pairs)


def test_random_transactions_of_two_clients_end_as_on_redis(servers: tuple[ServerProcess, ServerProcess]) -> None:
    """Each reply is awaited before the next step, so that both servers take the steps in the same order."""
    completed = refused = 0
    for seed in range(CONVERSATIONS_SEED, CONVERSATIONS_SEED + CONVERSATIONS_COUNT):
        rng = random.Random(seed)
        steps = [(rng.choice("AB"), random_step(rng)) for _ in range(100)]
        heard = []
        for server in servers:
            assert server.once("FLUSHALL") == b"+OK\r\n"
            with server.connect() as first, server.connect() as second:
                wires = {"A": first, "B": second}
                if seed % 2:
                    first.command("HELLO", 3)
                heard.append([wires[name].command(*words) for name, words in steps])
        told = {"A": Told(), "B": Told()}
        for place, ((name, words), ours, theirs) in enumerate(zip(steps, *heard, strict=True)):
            if words[0] == b"EXEC":
                completed += theirs[:1] == b"*" and theirs[:2] != b"*-"
                refused += theirs in (b"*-1\r\n", b"_\r\n")
            if not told[name].is_same(words, ours, theirs):
                history = zip(steps[: place + 1], heard[1], strict=False)
                lines = "\n".join(f"{name}: {show(words)}  {reply[:100]!r}" for (name, words), reply in history)
                pytest.fail(f"KVSERVER_CONVERSATIONS_SEED={seed}:\n{lines}\nkvserver: {ours!r}", pytrace=False)
    print(f"{completed} transactions, {refused} of them refused since a watched key was written")
    assert completed > CONVERSATIONS_COUNT
    assert refused > CONVERSATIONS_COUNT // 8
