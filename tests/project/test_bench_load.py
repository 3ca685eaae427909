"""The load generator sends the right commands at the right times, and isn't deceived by a server that stalls."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import hiredis
import pytest

from bench.dataset import Dataset
from bench.latencies import Latencies
from bench.load import Batch, Load, LoadFailed, LoadPlan
from bench.request import encode_request
from bench.workload import Workload

PING = Batch("PING", encode_request("PING"))
NEED_MORE = object()
Answer = Callable[[int, object], bytes]


class ScriptedServer:
    """Gives each request, counted from 0 over all connections, the reply that `answer` makes; one thread for all, so that one
    reply that is late makes all late. The PING of a connection that has just been made is not counted."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received: list[object] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        reader = hiredis.Reader(notEnoughData=NEED_MORE)
        is_greeted = False
        with connection:
            while True:
                try:
                    data = connection.recv(1 << 16)
                except OSError:
                    return
                if not data:
                    return
                reader.feed(data)
                while (request := reader.gets()) is not NEED_MORE:
                    if not is_greeted:
                        is_greeted = True
                        connection.sendall(b"+PONG\r\n")
                        continue
                    with self._lock:
                        number = len(self.received)
                        self.received.append(request)
                        reply = self._answer(number, request)
                    if not reply:
                        return
                    try:
                        connection.sendall(reply)
                    except OSError:
                        return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(answer: Answer) -> ScriptedServer:
        servers.append(ScriptedServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def pong(number: int, request: object) -> bytes:
    return b"+PONG\r\n"


STALL_S = 0.5
RATE_PER_S = 200.0


def stalling(number: int, request: object) -> bytes:
    if number == 100:
        time.sleep(STALL_S)
    return b"+PONG\r\n"


def test_stall_is_seen_by_every_command_that_was_due_in_it(serve: Callable[[Answer], ScriptedServer]) -> None:
    server = serve(stalling)
    samples = Load(LoadPlan(server.port, 2, [PING], RATE_PER_S, commands=400)).run()
    assert samples.commands == 400
    # A hundred commands were due in the half second, at even distances: so many waited, a quarter of a second in the mean.
    assert sum(sample_s > 0.05 for sample_s in samples.latencies_s["PING"]) >= 0.8 * RATE_PER_S * STALL_S
    assert sum(samples.latencies_s["PING"]) >= 0.9 * RATE_PER_S * STALL_S * STALL_S / 2
    assert Latencies.of_seconds(samples.latencies_s["PING"]).percentile_ms(90.0) > 100


def test_closed_loop_hides_a_stall_which_is_why_latency_is_not_taken_from_it(
    serve: Callable[[Answer], ScriptedServer],
) -> None:
    server = serve(stalling)
    samples = Load(LoadPlan(server.port, 2, [PING], None, commands=400)).run()
    # Two waited, where an open load has eighty: a few more if the machine stalls as well.
    assert sum(sample_s >= 0.9 * STALL_S for sample_s in samples.latencies_s["PING"]) <= 8
    assert max(samples.latencies_s["PING"]) >= 0.9 * STALL_S


def test_generator_that_is_late_makes_up_for_it_and_counts_it_as_latency(
    serve: Callable[[Answer], ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(pong)
    load = Load(LoadPlan(server.port, 2, [PING], RATE_PER_S, commands=200))
    wait, waits = load._wait, itertools.count()

    def wait_long_once(pause_s: float) -> bool:
        if next(waits) == 20:
            time.sleep(STALL_S)
        return wait(pause_s)

    monkeypatch.setattr(load, "_wait", wait_long_once)
    samples = load.run()
    for taken_s in (samples.latencies_s["PING"], samples.generator_delays_s):
        assert sum(sample_s > 0.05 for sample_s in taken_s) >= 0.8 * RATE_PER_S * STALL_S


def test_rate_is_kept_whatever_the_server_does(serve: Callable[[Answer], ScriptedServer]) -> None:
    server = serve(pong)
    samples = Load(LoadPlan(server.port, 3, [PING], 1000.0, commands=500)).run()
    assert samples.commands == len(server.received) == len(samples.generator_delays_s) == 500
    assert samples.elapsed_s >= 499 / 1000.0


def test_closed_loop_sends_as_many_commands_as_asked_in_whole_batches(serve: Callable[[Answer], ScriptedServer]) -> None:
    server = serve(pong)
    samples = Load(LoadPlan(server.port, 4, [Batch("PING", PING.encoded * 16, 16)], None, commands=100)).run()
    assert samples.commands == len(server.received) == 112
    assert len(samples.latencies_s["PING"]) == 7
    assert not samples.generator_delays_s


def test_closed_loop_of_more_clients_than_commands_sends_no_more(serve: Callable[[Answer], ScriptedServer]) -> None:
    server = serve(pong)
    assert Load(LoadPlan(server.port, 4, [PING], None, commands=3)).run().commands == len(server.received) == 3


def test_error_replies_are_counted(serve: Callable[[Answer], ScriptedServer]) -> None:
    server = serve(lambda number, request: b"-ERR no\r\n" if number % 2 else b"+OK\r\n")
    samples = Load(LoadPlan(server.port, 1, [PING], None, commands=10)).run()
    assert (samples.errors, samples.first_error) == (5, "ERR no")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(b"", "closed a connection"), (b"?\r\n", "no reply"), (b"+PONG\r\n+PONG\r\n", "nobody asked for")],
)
def test_server_that_breaks_the_protocol_ends_the_load(
    serve: Callable[[Answer], ScriptedServer], reply: bytes, reason: str
) -> None:
    server = serve(lambda number, request: reply if number == 5 else b"+PONG\r\n")
    with pytest.raises(LoadFailed, match=reason):
        Load(LoadPlan(server.port, 1, [PING], None, commands=10)).run()


def test_load_without_a_server_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(LoadFailed, match="no connection"):
        Load(LoadPlan(port, 1, [PING], None, commands=1)).run()


def test_server_that_never_answers_is_not_waited_for_for_ever(
    serve: Callable[[Answer], ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.load.DRAIN_S", 0.2)
    over = threading.Event()

    def answer(number: int, request: object) -> bytes:
        over.wait(20)
        return b""

    server = serve(answer)
    with pytest.raises(LoadFailed, match="3 batches had no reply"):
        Load(LoadPlan(server.port, 2, [PING], 1000.0, commands=3)).run()
    over.set()


def test_load_that_is_to_end_at_once_still_sends_each_kind(serve: Callable[[Answer], ScriptedServer]) -> None:
    """However late the generator is: what was not sent has no percentiles."""
    server = serve(lambda number, request: b"+OK\r\n")
    over, writing = os.pipe()
    os.close(writing)
    batches = [PING] * 5 + [Batch("SET", encode_request("SET", "k", "v"))]
    try:
        samples = Load(LoadPlan(server.port, 2, batches, batches_per_s=1_000), over).run()
    finally:
        os.close(over)
    # Of each at least as many as stand before the last kind: a late generator sends all that is due before it looks.
    assert len(samples.latencies_s["PING"]) >= 5
    assert len(samples.latencies_s["SET"]) >= 1


def test_load_ends_when_its_pipe_is_closed(serve: Callable[[Answer], ScriptedServer]) -> None:
    server = serve(pong)
    read_fd, write_fd = os.pipe()
    timer = threading.Timer(0.3, os.close, [write_fd])
    timer.start()
    try:
        samples = Load(LoadPlan(server.port, 2, [PING], 100.0), read_fd).run()
    finally:
        timer.join()
        os.close(read_fd)
    assert samples.commands == len(server.received)
    assert samples.elapsed_s < 10


# --- What is sent ---


def requests_in(batches: list[Batch]) -> list[list[bytes]]:
    reader = hiredis.Reader(notEnoughData=NEED_MORE)
    found = []
    for batch in batches:
        reader.feed(batch.encoded)
        requests = list(iter(reader.gets, NEED_MORE))
        assert len(requests) == batch.commands
        found += requests
    return found


@pytest.mark.parametrize("pipeline", [1, 16])
def test_mix_is_nine_gets_to_a_set(pipeline: int) -> None:
    requests = requests_in(Workload.named("mixed", Dataset(1000), pipeline).batches())
    share = sum(name == b"GET" for name, *_ in requests) / len(requests)
    assert {name for name, *_ in requests} == {b"GET", b"SET"}
    assert 0.89 < share < 0.91


def test_mset_sets_ten_keys() -> None:
    requests = list(requests_in(Workload.named("MSET", Dataset(1000, 100)).batches()[:50]))
    assert requests
    for name, *pairs in requests:
        assert name == b"MSET"
        assert len(pairs) == 20
        assert {len(value) for value in pairs[1::2]} == {100}


def test_batches_are_bounded_in_memory_and_the_same_each_time() -> None:
    workload = Workload.named("SET", Dataset(1000, 1 << 20))
    batches = workload.batches()
    assert sum(len(batch.encoded) for batch in batches) <= 32 << 20
    assert batches == workload.batches()


def test_no_key_or_value_holds_a_mark_by_which_echo_counts() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    choice = random.Random(seed)
    for _ in range(200):
        dataset = Dataset(choice.randrange(1, 10**6), choice.randrange(1, 5000))
        index = choice.randrange(dataset.keys)
        assert b"*" not in dataset.key(index) + dataset.value(index)
