"""A shared log in NATS: real servers that are killed, halted and started again. What every engine does is in test_engines."""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.nats_servers import NatsServers, until
from kvserver.errors import EntryTooLong, LogLost, MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.nats import open_nats, stream_of
from kvserver.media.nats_log import HEADERS_BYTES, NatsLog, refusal
from kvserver.media.settling import Counted, settled, wait_for
from kvserver.media.shared import Entry, Mark, SharedLog, digest_of

LONG_S = 60.0
# A campaign sets more.
RACES = int(os.environ.get("KVSERVER_NATS_RACES", "1000"))
RIVALRY = 100


@pytest.fixture
def open_log() -> Iterator[Callable[[str], NatsLog]]:
    """A function that opens the log at a URL. All are closed behind the test."""
    logs: list[NatsLog] = []

    def opened(url: str) -> NatsLog:
        log = open_nats(url).log
        assert isinstance(log, NatsLog)
        logs.append(log)
        return log

    yield opened
    for log in logs:
        log.close()


def own_name() -> str:
    return f"log-{secrets.token_hex(4)}"


class Writer:
    """A writer that settles what is unknown by reading, and keeps what was acknowledged."""

    def __init__(self, log: SharedLog) -> None:
        self._log = log
        self.entries: list[Entry] = []
        self.unknown = 0

    def append(self, data: bytes) -> Entry:
        last = self.entries[-1] if self.entries else None
        after = last.position if last else BEGINNING
        mark = Mark(1, last.mark.number + 1, digest_of(last.mark, last.data)) if last else Mark(1, 1, "")
        deadline = time.monotonic() + LONG_S
        is_open = False
        while True:
            assert time.monotonic() < deadline, "the append is not settled"
            try:
                entry = Entry(self._log.append(data, mark, after), mark, data)
                break
            except Refused:
                assert is_open
            except Unknown:
                is_open = True
                self.unknown += 1
            except MediumError:
                time.sleep(0.02)
                continue
            try:
                found = self._log.read(after, 0)
            except MediumError:
                continue
            if found:
                assert (found[0].mark, found[0].data) == (mark, data)
                entry = found[0]
                break
        self.entries.append(entry)
        return entry


def all_of(log: SharedLog, after: Position = BEGINNING) -> list[Entry]:
    entries: list[Entry] = []
    while found := log.read(entries[-1].position if entries else after, 0):
        entries += found
    return entries


# Who wins


def test_of_two_writers_on_two_nodes_one_wins(nats_cluster: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    name = own_name()
    logs = [open_log(nats_cluster.url(name, node)) for node in nats_cluster.nodes[:2]]
    after = BEGINNING
    barrier = threading.Barrier(2)

    def race(number: int, place: Position, log: NatsLog) -> Position | None:
        barrier.wait(LONG_S)
        try:
            return log.append(b"%d" % number, Mark(1, place.number + 1, ""), place)
        except Refused:
            return None

    with ThreadPoolExecutor(2) as pool:
        for number in range(RACES):
            won = [position for position in pool.map(race, (2 * number, 2 * number + 1), (after, after), logs) if position]
            assert len(won) == 1
            after = won[0]
    assert len(all_of(logs[0])) == RACES


def test_rival_comes_between_and_the_log_is_what_each_was_told(
    nats_cluster: NatsServers, open_log: Callable[[str], NatsLog]
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    name = own_name()
    one, other = (open_log(nats_cluster.url(name, node)) for node in nats_cluster.nodes[1:])
    acknowledged: list[bytes] = []
    refused = 0
    for number in range(RIVALRY):
        after = Position(1, len(acknowledged))
        data = b"one %d" % number

        def interfere(at: Position, wait_s: float) -> Position:
            time.sleep(wait_s)
            return other.append(b"rival", Mark(1, at.number + 1, ""), at)

        with ThreadPoolExecutor(1) as pool:
            rival = pool.submit(interfere, after, rng.random() / 500)
            time.sleep(rng.random() / 500)
            try:
                one.append(data, Mark(1, after.number + 1, ""), after)
                acknowledged.append(data)
                assert isinstance(rival.exception(LONG_S), Refused)
            except Refused:
                refused += 1
                assert rival.result(LONG_S) == Position(1, after.number + 1)
                acknowledged.append(b"rival")
    assert [entry.data for entry in all_of(one)] == acknowledged
    print(f"{refused} of {RIVALRY} were refused")


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (10071, "wrong last sequence: 8", Refused),
        # The server that answers lags behind what is known: nobody else's entry need stand there.
        (10071, "wrong last sequence: 7", Unknown),
        (10071, "wrong last sequence: 6", Unknown),
        (10071, "who knows", Unknown),
        (10077, "the store failed", Unknown),
        (10054, "too long", MediumError),
        (10002, "no room", Unknown),
    ],
)
def test_refusal_is_what_it_is(code: int, text: str, kind: type[MediumError]) -> None:
    assert type(refusal({"err_code": code, "description": text}, 7)) is kind


def test_stream_that_is_gone_takes_nothing(nats_node: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    name = own_name()
    log = open_log(nats_node.url(name))
    assert log._client.ask(f"$JS.API.STREAM.DELETE.{stream_of(name)}", {}, LONG_S)["success"]
    for call in (lambda: log.append(b"", Mark(1, 1, ""), BEGINNING), lambda: log.read(BEGINNING, 0)):
        with pytest.raises(MediumError, match=f"the stream {stream_of(name)} is gone: somebody has deleted it") as failure:
            call()
        assert not isinstance(failure.value, Refused | Unknown)


def test_stream_that_was_made_anew_is_told_of(
    nats_node: NatsServers, open_log: Callable[[str], NatsLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvserver.media.nats_log.LOST_S", 0.3)
    name = own_name()
    log = open_log(nats_node.url(name))
    writer = Writer(log)
    for data in (b"one", b"two"):
        last = writer.append(data)
    settings = log._client.ask(f"$JS.API.STREAM.INFO.{stream_of(name)}", {}, LONG_S)["config"]
    assert log._client.ask(f"$JS.API.STREAM.DELETE.{stream_of(name)}", {}, LONG_S)["success"]
    assert "error" not in log._client.ask(f"$JS.API.STREAM.CREATE.{stream_of(name)}", settings, LONG_S)
    told = f"the stream {stream_of(name)} ends at 0, and has had the entry 2: it was made anew, or its end was lost"
    with pytest.raises(LogLost, match=told):
        log.read(last.position, 0)
    # Who has appended ends as well, and does not send again for ever.
    end = time.monotonic() + LONG_S / 6
    outcomes = Counted()
    steps = settled(log, b"three", Mark(1, 3, digest_of(last.mark, last.data)), last.position, outcomes)
    with pytest.raises(LogLost, match=told):
        wait_for(steps, lambda: time.monotonic() > end)
    assert outcomes.error.startswith("the stream")


def test_server_that_takes_less_since_it_was_started_again(tmp_path: Path, open_log: Callable[[str], NatsLog]) -> None:
    with NatsServers(tmp_path) as servers:
        log, node, long = open_log(servers.url("less")), servers.nodes[0], b"x" * 500_000
        assert log.max_append_bytes > len(long)
        last = log.append(long, Mark(1, 1, ""), BEGINNING)
        node.kill()
        node.settings = node.settings.replace("max_payload: 8MB", "max_payload: 256KB")
        servers.start()
        log._client.wait_until_ready(LONG_S)
        with pytest.raises(EntryTooLong):
            log.append(long, Mark(1, 2, ""), last)
        assert log.append(b"x" * log.max_append_bytes, Mark(1, 2, ""), last).number == 2
        # What is there can be read, however long it is.
        assert [entry.data for entry in all_of(log)] == [long, b"x" * log.max_append_bytes]
        assert log.max_append_bytes == (256 << 10) - HEADERS_BYTES


def test_full_store_takes_nothing(tmp_path: Path, open_log: Callable[[str], NatsLog]) -> None:
    limits = "accounts { A { users: [{user: me, password: pw}], jetstream { max_file: 20MB } } }"
    with NatsServers(tmp_path, settings=limits) as servers:
        log = open_log(servers.url("full").replace("//", "//me:pw@"))
        last = BEGINNING
        while last.number < 100:
            try:
                last = log.append(b"x" * 1_000_000, Mark(1, last.number + 1, ""), last)
            except MediumError as error:
                told = error
                break
        assert 10 < last.number < 100
        assert not isinstance(told, Refused)
        assert "resource limits exceeded for account" in str(told)
        assert log.read(last, 0) == []
        log.trim(last)
        assert log.append(b"there is room again", Mark(1, last.number + 1, ""), last).number == last.number + 1


# What is durable


def test_each_node_syncs_before_an_append_is_acknowledged(
    tmp_path: Path, nats_cluster: NatsServers, open_log: Callable[[str], NatsLog]
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed, so nobody counts the syncs")
    log = open_log(nats_cluster.url(own_name()))
    last = log.append(b"first", Mark(1, 1, ""), BEGINNING)
    traces = [tmp_path / f"{node.name}.trace" for node in nats_cluster.nodes]
    tracers = [
        subprocess.Popen(
            ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace), "-p", str(node.pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for trace, node in zip(traces, nats_cluster.nodes, strict=True)
    ]
    count = 20
    try:
        for tracer in tracers:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            if "attached" not in line:
                pytest.skip(f"strace may not look at a process here: {line.strip()}")
        for _ in range(count):
            last = log.append(b"x" * 100, Mark(1, 1, ""), last)
    finally:
        for tracer in tracers:
            tracer.terminate()
            tracer.communicate()
    synced = [len(re.findall(r"^\d+ +f(?:data)?sync\(", trace.read_text(), re.MULTILINE)) for trace in traces]
    print(f"syncs of {count} appends: {synced}")
    # A quorum has synced each before it was acknowledged; the third node may be late with the last.
    assert sum(sorted(synced)[1:]) >= 2 * count
    assert sum(synced) >= 3 * count - 3


def halt_the_leader(servers: NatsServers, stream: str, write_until: Callable[[Callable[[], bool]], None]) -> None:
    """It halts while others elect another, and goes on when it does not lead any more, but does not know that yet."""
    halted = servers.leader_of(stream)
    halted.halt()
    write_until(lambda: servers.is_led_by_another(stream, halted))
    halted.go_on()


def kill_the_leader(servers: NatsServers, stream: str, write_until: Callable[[Callable[[], bool]], None]) -> None:
    killed = servers.leader_of(stream)
    killed.kill()
    write_until(lambda: servers.is_led_by_another(stream, killed))
    servers.start(killed)


def kill_all(servers: NatsServers, stream: str, write_until: Callable[[Callable[[], bool]], None]) -> None:
    for node in servers.nodes:
        node.kill()
    servers.start()


FAULTS = (halt_the_leader, kill_the_leader, kill_all)


def test_nothing_acknowledged_is_lost_whoever_dies(tmp_path: Path, open_log: Callable[[str], NatsLog]) -> None:
    def survive(number: int) -> tuple[int, int]:
        """Write through a fault, and return how many appends there were, and how many were unknown at first."""
        with NatsServers(tmp_path / f"{number}", 3) as servers:
            log, tail = open_log(servers.url("kv")), open_log(servers.url("kv"))
            writer = Writer(log)
            seen: list[Entry] = []
            stop = threading.Event()

            def follow() -> None:
                while not stop.is_set():
                    try:
                        seen.extend(tail.read(seen[-1].position if seen else BEGINNING, 0.2))
                    except MediumError:
                        stop.wait(0.02)

            def write_until(is_over: Callable[[], bool]) -> None:
                while not is_over():
                    writer.append(random.randbytes(random.randrange(2000)))

            follower = threading.Thread(target=follow)
            follower.start()
            try:
                write_until(lambda: len(writer.entries) == 50)
                FAULTS[number](servers, stream_of("kv"), write_until)
                end = len(writer.entries) + 50
                write_until(lambda: len(writer.entries) == end)
                until("the tail has all", lambda: len(seen) >= len(writer.entries))
            finally:
                stop.set()
                follower.join()
            servers.wait_until_healthy()
            assert seen == writer.entries
            for node in servers.nodes:
                assert all_of(open_log(servers.url("kv", node))) == writer.entries
            return len(writer.entries), writer.unknown

    # Each fault has a cluster of its own, all at once: most of the time is that of elections.
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        for fault, (appended, unknown) in zip(FAULTS, pool.map(survive, range(len(FAULTS))), strict=True):
            print(f"{fault.__name__}: {appended} appended, of which {unknown} were unknown at first, 0 lost")


def test_positions_are_never_used_again(tmp_path: Path, open_log: Callable[[str], NatsLog]) -> None:
    with NatsServers(tmp_path) as servers:
        log = open_log(servers.url("kept"))
        last = BEGINNING
        for number in range(5):
            last = log.append(b"x", Mark(1, number + 1, ""), last)
        log.trim(Position(1, 100))
        assert log.read(last, 0) == []
        servers.nodes[0].kill()
        servers.start()
        log._client.wait_until_ready(LONG_S)
        with pytest.raises(Trimmed, match="the entry 1 is not there any more: the first is 6"):
            log.read(BEGINNING, 0)
        with pytest.raises(Refused):
            log.append(b"old", Mark(1, 5, ""), Position(1, 4))
        assert log.append(b"y", Mark(1, 6, ""), last).number == 6


# Who reads


def test_reader_waits_and_then_follows(
    nats_cluster: NatsServers, open_log: Callable[[str], NatsLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine a feed may be silent for long.
    monkeypatch.setattr("kvserver.media.nats_feed.SILENCE_S", LONG_S)
    name = own_name()
    writer, tail = Writer(open_log(nats_cluster.url(name))), open_log(nats_cluster.url(name))
    assert tail.read(BEGINNING, 0.01) == []
    feed = tail._feed
    assert feed is not None
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tail.read, BEGINNING, LONG_S)
        writer.append(b"first")
        seen = reading.result(LONG_S)
    for number in range(30):
        writer.append(b"%d" % number * number)
    while len(seen) < 31:
        seen += tail.read(seen[-1].position, LONG_S)
    assert seen == writer.entries
    # All came by one consumer.
    assert tail._feed is feed


def test_reader_that_catches_up_has_the_next_entries_on_their_way(
    nats_cluster: NatsServers, open_log: Callable[[str], NatsLog]
) -> None:
    name = own_name()
    writer, reader = Writer(open_log(nats_cluster.url(name))), open_log(nats_cluster.url(name))
    for number in range(15):
        writer.append(bytes([number]) * 1_000_000)
    seen = reader.read(BEGINNING, 0)
    assert 0 < len(seen) < 15
    assert reader._ahead is not None
    # Who reads elsewhere meanwhile gets what stands there.
    assert reader.read(writer.entries[12].position, 0) == writer.entries[13:]
    assert reader._ahead is None
    while len(seen) < 15:
        seen += reader.read(seen[-1].position, 0)
    assert seen == writer.entries


def test_feed_with_a_gap_is_given_up(nats_node: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    name = own_name()
    writer, tail = Writer(open_log(nats_node.url(name))), open_log(nats_node.url(name))
    entries = [writer.append(b"first")]
    assert tail.read(BEGINNING, LONG_S) == entries
    assert tail.read(entries[-1].position, 0.01) == []
    feed = tail._feed
    assert feed is not None
    feed._next += 1
    writer.append(b"second")
    until("the gap is seen", lambda: feed.error == "NATS pushes the entry 2 where 3 is due")
    assert feed.is_over
    assert tail.read(entries[-1].position, LONG_S) == writer.entries[1:]
    assert tail._feed is not feed


def test_slow_reader_is_not_flooded(nats_node: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    name = own_name()
    writer, tail = Writer(open_log(nats_node.url(name))), open_log(nats_node.url(name))
    assert tail.read(BEGINNING, 0.01) == []
    for number in range(40):
        writer.append(bytes([number]) * 1_000_000)
    feed = tail._feed
    assert feed is not None
    # The server stops soon behind what the reader has room for.
    until("the feed stops", lambda: bool(feed._more))
    assert feed._bytes < 40_000_000
    seen: list[Entry] = []
    while len(seen) < 40:
        seen += tail.read(seen[-1].position if seen else BEGINNING, LONG_S)
    assert seen == writer.entries


def test_who_writes_does_not_follow_any_more(nats_node: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    log = open_log(nats_node.url(own_name()))
    assert log.read(BEGINNING, 0.01) == []
    assert log._feed is not None
    Writer(log).append(b"first")
    assert log._feed is None


def test_reader_of_what_was_trimmed_while_it_waited_is_told(
    nats_node: NatsServers, open_log: Callable[[str], NatsLog]
) -> None:
    name = own_name()
    writer, tail = Writer(open_log(nats_node.url(name))), open_log(nats_node.url(name))
    assert tail.read(BEGINNING, 0.01) == []
    tail._feed = None
    for _ in range(3):
        writer.append(b"x")
    writer._log.trim(writer.entries[1].position)
    with pytest.raises(Trimmed):
        tail.read(BEGINNING, LONG_S)
    assert tail.read(writer.entries[1].position, LONG_S) == writer.entries[2:]


def test_answer_older_than_what_was_seen_is_not_believed(nats_node: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    log = open_log(nats_node.url(own_name()))
    last = Writer(log).append(b"first").position
    assert log.read(last, 0) == []
    log._seen += 1
    with pytest.raises(MediumError, match="the entry 2 can't be read now: the node that leads the stream in NATS lags"):
        log.read(last, 0)


def test_entry_is_asked_of_the_leader_where_others_lag(
    nats_node: NatsServers, open_log: Callable[[str], NatsLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(nats_node.url(own_name()))
    writer = Writer(log)
    for data in (bytes(range(256)) * 300, b""):
        entry = writer.append(data)
        before = Position(1, entry.position.number - 1)
        # A node that lags answers with nothing but the word that ends a batch.
        with monkeypatch.context() as patch:
            collect = log._client.collect
            patch.setattr(log._client, "collect", lambda *words, collect=collect: collect(*words)[-1:])
            assert log.read(before, 0) == [entry]


def test_message_of_somebody_else_is_told_of(nats_node: NatsServers, open_log: Callable[[str], NatsLog]) -> None:
    name = own_name()
    log = open_log(nats_node.url(name))
    Writer(log).append(b"ours")
    log._client.request(f"kvserver.{name}", b"theirs", None, LONG_S)
    with pytest.raises(MediumError, match="the message 2 of the stream has no mark of kvserver's: somebody else writes there"):
        all_of(log)
