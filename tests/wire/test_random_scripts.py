"""Scripts of a grammar, as EVAL, as functions, in transactions: the replies are those of redis-server, byte for byte.

KVSERVER_RANDOM_SCRIPTS is the number of scripts, KVSERVER_RANDOM_SCRIPTS_SEED the first seed. Each seed gives a run of scripts
that begins on servers which have nothing. A failure names its seed, and shows only those commands and lines of the run that it
takes to see a difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from random import Random
from typing import NamedTuple, TypeVar

import pytest

from helpers.lua_scripts import STATE, Drawing
from helpers.random_commands import Words
from helpers.servers import Kind, ServerProcess, Wire, encode, split_replies

COUNT = int(os.environ.get("KVSERVER_RANDOM_SCRIPTS", "20000"))
SEED = int(os.environ.get("KVSERVER_RANDOM_SCRIPTS_SEED", "0")) or Random().randrange(1, 1 << 32)
# The scripts of a run, which are sent at once.
RUN = 500
OPTIONS = ("--save", "", "--appendonly", "no", "--proto-max-bulk-len", "1mb")
# What scripts have set for those behind them: FUNCTION FLUSH leaves that in redis-server 7.0, and not in kvserver.
FORGETTING = b"""#!lua name=forgetting
redis.register_function('forget', function()
  math.randomseed(1)
  cjson.encode_sparse_array(false, 2, 10)
  cjson.encode_max_depth(1000)
  cjson.decode_max_depth(1000)
  cjson.encode_number_precision(14)
  cjson.encode_invalid_numbers(false)
  cjson.decode_invalid_numbers(true)
end)
"""
RESET: tuple[Words, ...] = (
    (b"FLUSHALL",),
    (b"SCRIPT", b"FLUSH"),
    (b"FUNCTION", b"FLUSH"),
    (b"FUNCTION", b"LOAD", FORGETTING),
    (b"FCALL", b"forget", b"0"),
)
END = b"this is behind the last reply"

# Commands that make no sense alone, and a run of such.
Commands = tuple[Words, ...]
Run = list[Commands]
_Item = TypeVar("_Item")


class Difference(NamedTuple):
    """The replies of both servers to the commands at this place of a run, which are the first that are not the same."""

    place: int
    ours: bytes
    theirs: bytes


class Servers:
    """Connections to kvserver and to redis-server, of one protocol."""

    def __init__(self, wires: Sequence[Wire]) -> None:
        self._wires = wires

    def send(self, run: Run) -> None:
        """Send a run, and before it what lets it begin on servers that have nothing."""
        sent = [*RESET, *(words for commands in run for words in commands), (b"ECHO", END)]
        data = b"".join(encode(*words) for words in sent)
        for wire in self._wires:
            wire.send(data)

    def replies(self) -> list[bytes]:
        """What each of the servers has replied to a run, and before it."""
        return [wire.read_through(b"$%d\r\n%s\r\n" % (len(END), END)) for wire in self._wires]

    def difference(self, run: Run) -> Difference | None:
        """The first difference in the replies to a run, which is sent for it."""
        self.send(run)
        ours, theirs = (split_replies(data)[len(RESET) :] for data in self.replies())
        start = 0
        for place, commands in enumerate(run):
            stop = start + len(commands)
            if ours[start:stop] != theirs[start:stop]:
                return Difference(place, b"".join(ours[start:stop]), b"".join(theirs[start:stop]))
            start = stop
        return None

    def smallest_difference(self, run: Run) -> str:
        """For a person to read: what it takes of a run whose replies are not the same, and the last replies to that."""
        found = self.difference(run)
        if found is None:
            return "the replies are the same when the run is sent again"
        last = run[found.place]
        run = [*shrunk(run[: found.place], lambda before: self._differs([*before, last])), last]
        for text in {word for commands in run for words in commands for word in words if b"\n" in word}:
            run = self._with_less_of(text, run)
        found = self.difference(run) or found
        lines = ["    " + " ".join(repr(word)[1:] for word in words) for commands in run for words in commands]
        return "\n".join((*lines, f"kvserver: {found.ours[:3000]!r}", f"   redis: {found.theirs[:3000]!r}"))

    def _differs(self, run: Run) -> bool:
        """True if the last commands are the first that get different replies."""
        found = self.difference(run)
        return found is not None and found.place == len(run) - 1

    def _with_less_of(self, text: bytes, run: Run) -> Run:
        """The run without the lines of a text that are not needed."""

        def with_lines(lines: Sequence[bytes]) -> Run:
            return [
                tuple(tuple(b"\n".join(lines) if word == text else word for word in words) for words in each) for each in run
            ]

        return with_lines(shrunk(text.split(b"\n"), lambda lines: self._differs(with_lines(lines))))


def shrunk(items: Sequence[_Item], is_enough: Callable[[list[_Item]], bool]) -> list[_Item]:
    """Those of the items that are needed: without any of them the others are not enough."""
    left = list(items)
    size = len(left)
    while size:
        start = 0
        while start < len(left):
            fewer = left[:start] + left[start + size :]
            if is_enough(fewer):
                left = fewer
            else:
                start += size
        size //= 2
    return left


@pytest.fixture(scope="module")
def by_protocol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Servers]]:
    """The servers by the protocol in which they are spoken to."""
    kinds: tuple[Kind, ...] = ("kvserver", "redis-server")
    with ExitStack() as stack:
        servers = [stack.enter_context(ServerProcess(kind, tmp_path_factory.mktemp(kind), *OPTIONS)) for kind in kinds]
        wires = {protocol: [stack.enter_context(server.connect()) for server in servers] for protocol in (2, 3)}
        for wire in wires[3]:
            wire.command("HELLO", 3)
        yield {protocol: Servers(several) for protocol, several in wires.items()}


def random_run(seed: int) -> Run:
    return [*Drawing(Random(seed)).runs(RUN), (STATE,)]


@pytest.mark.timeout(120 + COUNT / 200)
def test_random_scripts_get_the_replies_of_redis(by_protocol: dict[int, Servers]) -> None:
    """A run is drawn while the servers are busy with the one before."""
    sent: tuple[int, Run] | None = None
    for seed in range(SEED, SEED + -(-COUNT // RUN)):
        run = random_run(seed)
        if sent:
            check(by_protocol, *sent)
        by_protocol[2 + seed % 2].send(run)
        sent = seed, run
    if sent:
        check(by_protocol, *sent)


def check(by_protocol: dict[int, Servers], seed: int, run: Run) -> None:
    servers = by_protocol[2 + seed % 2]
    label = f"KVSERVER_RANDOM_SCRIPTS_SEED={seed}, RESP{2 + seed % 2}"
    try:
        ours, theirs = servers.replies()
    except (OSError, EOFError) as error:
        pytest.fail(f"{label}: {error}", pytrace=False)
    if ours != theirs:
        pytest.fail(f"{label}:\n{servers.smallest_difference(run)}", pytrace=False)


def test_what_is_shown_of_a_difference_is_what_it_takes(by_protocol: dict[int, Servers]) -> None:
    """The length of what is no table in kvserver is a difference, which is meant: it is seen behind another command."""
    before = (b"EVAL", b"local x = 1\nredis.call('set', 'x', 1)\nreturn 2", b"0")
    script = (b"EVAL", b"local x = 1\nlocal y = redis.call('get', 'x') and #redis\nreturn x", b"0")
    ping = ((b"PING",),)
    shown = by_protocol[2].smallest_difference([ping, (before,), ping, ping, (script,), *[ping] * 5])
    assert shown.splitlines()[:2] == [
        "    'EVAL' \"redis.call('set', 'x', 1)\" '0'",
        "    'EVAL' \"local y = redis.call('get', 'x') and #redis\" '0'",
    ]
    assert "kvserver: b\"-ERR user_script:1: attempt to get length of global 'redis'" in shown
    assert shown.endswith("redis: b'$-1\\r\\n'")
