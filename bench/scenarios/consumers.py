"""Consumers: those of one group take entries of a stream by XREADGROUP and acknowledge them by XACK.

Owns the conversation: all consumers ask before the first one is answered, and acknowledge what they got, in turn. CPU is the
server's, for an XREADGROUP and an XACK together; the entries were added before.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence

from bench.control import Control
from bench.failure import BenchFailed
from bench.figures import Case, Goal, Measurement, Metric
from bench.kinds import Ability
from bench.process import ServerProcess
from bench.request import encode_request
from bench.scenario import Run, Scenario

CPU = "CPU per entry"
METRICS = (Metric(CPU, "µs", 2),)
ENTRY = b"e" * 64
# So many entries are added at once.
ADDED_AT_ONCE = 1_000


def take_all(server: ServerProcess, entries: int, consumers: int, at_once: int) -> Measurement:
    entries -= entries % (consumers * at_once)
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(server.control())
        control.call("DEL", "stream")
        control.call("XGROUP", "CREATE", "stream", "group", 0, "MKSTREAM")
        add = encode_request("XADD", "stream", "*", "field", ENTRY)
        for start in range(0, entries, ADDED_AT_ONCE):
            count = min(ADDED_AT_ONCE, entries - start)
            control.send(add * count)
            for _ in range(count):
                control.receive()
        clients = [stack.enter_context(server.control()) for _ in range(consumers)]
        asks = [
            encode_request("XREADGROUP", "GROUP", "group", f"c{number}", "COUNT", at_once, "STREAMS", "stream", ">")
            for number in range(consumers)
        ]
        before_s = server.proc.cpu_time_s()
        for _ in range(entries // (consumers * at_once)):
            _take_some(clients, asks)
        cpu_s = server.proc.cpu_time_s() - before_s
        pending = control.call("XPENDING", "stream", "group")
        if not isinstance(pending, list) or pending[0]:
            raise BenchFailed(f"{pending!r} is left of what was acknowledged")
    return Measurement({CPU: cpu_s * 1e6 / entries})


def _take_some(clients: Sequence[Control], asks: Sequence[bytes]) -> None:
    for client, ask in zip(clients, asks, strict=True):
        client.send(ask)
    for client in clients:
        reply = client.receive()
        if not isinstance(reply, list):
            raise BenchFailed("a consumer got nothing, though there are entries")
        client.send(encode_request("XACK", "stream", "group", *[identity for identity, _ in reply[0][1]]))
    for client in clients:
        client.receive()


def measure(run: Run) -> Iterator[Case]:
    for at_once in (1, 10):
        tags = {"consumers": 16, "at once": at_once}
        goals = (Goal(CPU, 2.0),) if at_once == 1 else ()
        case = Case(f"XREADGROUP and XACK, 16 consumers, {at_once} at once", METRICS, goals, tags=tags)
        with run.servers(Ability.DATA) as servers:
            take = functools.partial(take_all, entries=run.pick(20_000, 1_600), consumers=16, at_once=at_once)
            yield run.measure(case, run.rounds(5), servers, take)


SCENARIO = Scenario("consumers", "CPU of XREADGROUP and XACK by 16 consumers of a group, no journal", measure)
