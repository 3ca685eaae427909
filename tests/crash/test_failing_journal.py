"""Servers whose journal fails tell their clients, lose nothing that was promised to a kill -9, and have a way back.

A full disk is a limit on the size of files, as in test_failing_server. For a sync that fails, or lasts, the server runs
behind a few lines that take the place of os.fsync; as a kernel may, these forget what was written since the last sync.
"""

from __future__ import annotations

import resource
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from helpers.servers import ServerProcess, Wire, encode, info, parse, wait_until

PROGRAM = """
import errno, os, stat, sys, time
sync, folder, synced = os.fsync, sys.argv.pop(1), {}

def is_told_to(what):
    return os.path.exists(os.path.join(folder, what))

def fsync(descriptor):
    file = os.fstat(descriptor)
    while is_told_to("hold"):
        open(os.path.join(folder, "held"), "w").close()
        time.sleep(0.005)
    if is_told_to("fail"):
        if stat.S_ISREG(file.st_mode):
            start = min(synced.get(file.st_ino, 0), file.st_size)
            os.pwrite(descriptor, bytes(file.st_size - start), start)
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    sync(descriptor)
    synced[file.st_ino] = file.st_size

def pwritev(descriptor, buffers, offset, flags):
    length = write(descriptor, buffers, offset, flags & ~os.RWF_DSYNC)
    if flags & os.RWF_DSYNC:
        fsync(descriptor)
    return length

write, os.pwritev = os.pwritev, pwritev
os.fsync = fsync
from kvserver.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
MISCONF = b"-MISCONF Errors writing to the AOF file: "
VALUE = b"x" * 1000
# So many bytes may wait to be written.
PENDING_BYTES = 8 << 20
# They include the writes of one client in one turn, and the sockets' buffers.
MOST_TAKEN_BYTES = 24 << 20
REASONS = {"full disk": "File too large", "failed sync": "Input/output error"}
WRITES = (
    ("SET", "k", "w"),
    ("DEL", "write:0"),
    ("INCR", "counter"),
    ("EXPIRE", "write:0", "9"),
    ("FLUSHALL",),
    ("JSON.SET", "k", "$", "1"),
)


class FailingServer(ServerProcess):
    """A kvserver whose disk does what it is told to."""

    def __init__(self, folder: Path, policy: str, *options: str) -> None:
        super().__init__("kvserver", folder, "--save", "", "--appendfsync", policy, *options)
        self._orders = folder.parent / "orders"
        self._orders.mkdir(exist_ok=True)
        self._hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def command(self) -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(self._orders)]

    def tell(self, what: str) -> None:
        """`fail`: syncs fail. `hold`: they do not end."""
        (self._orders / what).touch()

    def untell(self, what: str) -> None:
        (self._orders / what).unlink(missing_ok=True)

    def wait_until_held(self) -> None:
        wait_until((self._orders / "held").exists, "a sync")

    def limit(self, size: int) -> None:
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, self._hard_limit))

    def break_disk(self, how: str) -> None:
        if how == "failed sync":
            self.tell("fail")
        else:
            # A little of the next record fits, and no snapshot does.
            self.limit(max(self.directory.glob("*.journal")).stat().st_size + 100)

    def repair_disk(self) -> None:
        self.untell("fail")
        self.limit(self._hard_limit)


Start = Callable[..., FailingServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server on the one folder of this test, whose disk is sound."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:

        def start(policy: str, *options: str) -> FailingServer:
            server = FailingServer(folder, policy, *options)
            for what in ("hold", "held", "fail"):
                server.untell(what)
            stack.enter_context(server)
            stack.push(lambda *_: server.kill() if server.process.poll() is None else None)
            return server

        yield start


class Story:
    """Keys that are written one after the other, so that what is there must be the first ones; and how many are told."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0

    def request(self) -> bytes:
        self.sent += 1
        return encode("SET", f"write:{self.sent - 1}", VALUE)

    def write(self, wire: Wire, count: int) -> None:
        for _ in range(count):
            wire.send(self.request())
            assert wire.read_reply() == b"+OK\r\n"
            assert self.acknowledged == self.sent - 1
            self.acknowledged += 1

    def write_at_once(self, wire: Wire, count: int) -> None:
        """In one read, so that what becomes of the first is not known when the last is taken."""
        wire.send(b"".join(self.request() for _ in range(count)))
        assert wire.read_exactly(len(b"+OK\r\n") * count) == b"+OK\r\n" * count
        self.acknowledged += count

    def found(self, wire: Wire) -> int:
        """Return the number of writes that the server has, which must be the first ones."""
        there = [wire.value("GET", f"write:{number}") for number in range(self.sent)]
        count = there.count(VALUE)
        assert there == [VALUE] * count + [None] * (self.sent - count), "a state that never was"
        assert wire.value("DBSIZE") == count
        return count

    def begin(self, wire: Wire) -> None:
        """Go on from what the server has, which is no less than what was told by the same process."""
        self.sent = self.acknowledged = self.found(wire)


def settle(wire: Wire, policy: str, how: str) -> None:
    """Make acknowledged writes as safe as the policy makes them against the failure that is about to come."""
    # A failed sync loses all writes that were not synced.
    if policy != "always" and how == "failed sync":
        assert wire.command("SAVE") == b"+OK\r\n"


def fail(server: FailingServer, story: Story, policy: str, how: str, *, tries_to_save: bool = True) -> None:
    """Let the disk fail, and see what is told of it."""
    server.break_disk(how)
    is_acknowledged = policy != "always" and how == "failed sync"
    if not is_acknowledged:
        with server.connect() as wire:
            wire.send(story.request() + encode("GET", f"write:{story.sent - 1}") + encode("PING"))
            assert wire.read_until_eof() == b"", "a reply that waited for what failed"
    with server.connect() as wire:
        if is_acknowledged:
            story.write_at_once(wire, 2)
            # Under this policy the first sync is that of a snapshot.
            if policy == "no":
                assert wire.command("SAVE").startswith(b"-ERR ")
        wait_until(lambda: info(wire)["aof_last_write_status"] == "err", "the failure")
        facts = info(wire)
        assert REASONS[how] in facts["aof_last_write_error"]
        assert facts["aof_enabled"] == "1"
        for write in WRITES:
            reply = wire.command(*write)
            assert reply.startswith(MISCONF), (write, reply)
            assert REASONS[how].encode() in reply
        assert wire.command("PING") == b"+PONG\r\n"
        assert wire.value("GET", "write:0") == VALUE, "reads go on"
        assert wire.value("EXISTS", "k", "counter") == 0
        if tries_to_save:
            assert wire.command("SAVE").startswith(b"-ERR ")
            assert wire.command("SET", "k", "w").startswith(b"-MISCONF "), "a snapshot that failed is no way back"


CASES = [
    ("full disk", "always", ""),
    ("full disk", "everysec", "BGSAVE"),
    ("full disk", "no", "BGREWRITEAOF"),
    ("failed sync", "always", "BGREWRITEAOF"),
    ("failed sync", "everysec", ""),
    ("failed sync", "no", "BGSAVE"),
]


@pytest.mark.parametrize(("how", "policy", "way_back"), CASES)
def test_failed_journal_loses_no_more_than_its_policy_says_and_comes_back(
    start: Start, how: str, policy: str, way_back: str
) -> None:
    story = Story()
    server = start(policy)
    with server.connect() as wire:
        story.write(wire, 25)
        # The journal's segment must be smaller than a snapshot.
        assert wire.command("SAVE") == b"+OK\r\n"
        story.write(wire, 5)
        settle(wire, policy, how)
        safe = story.acknowledged
        fail(server, story, policy, how)
    server.kill()

    server = start(policy)
    assert "set aside" not in server.log_text()
    with server.connect() as wire:
        story.begin(wire)
        assert story.acknowledged >= safe
        fail(server, story, policy, how, tries_to_save=bool(way_back))
        server.repair_disk()
        if way_back:
            assert wire.command(way_back).startswith((b"+Background", b"-ERR Background")), "or an automatic one runs already"
        wait_until(lambda: info(wire)["aof_last_write_status"] == "ok", "the way back")
        wait_until(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "its end")
        assert info(wire)["aof_last_write_error"] == ""
        assert len(list(server.directory.glob("*.journal"))) == 1
        story.begin(wire)
        story.write(wire, 3)
    server.kill()

    with start(policy).connect() as wire:
        assert story.found(wire) == story.acknowledged, "all that it had when it came back is in its snapshot"
        assert wire.command("SET", "k", "w") == b"+OK\r\n"


def test_replies_of_all_who_wait_for_a_sync_that_fails_are_never_sent(start: Start) -> None:
    server = start("always")
    with ExitStack() as stack:
        first, reader, writer = [stack.enter_context(server.connect()) for _ in range(3)]
        for wire in (first, reader, writer):
            assert wire.command("SET", "k", "old") == b"+OK\r\n"
        server.tell("hold")
        first.send(encode("SET", "k", "new") + encode("GET", "k"))
        server.wait_until_held()
        reader.send(encode("GET", "k"))
        writer.send(encode("SET", "k", "newer"))
        server.tell("fail")
        server.untell("hold")
        assert first.read_until_eof() == b""
        # These two may have been read only when the failure was known: then they are answered by what holds since.
        writer.half_close()
        told = writer.read_until_eof()
        assert not told or told.startswith(MISCONF)
        reader.half_close()
        assert reader.read_until_eof() in (b"", b"$3\r\nnew\r\n", b"$5\r\nnewer\r\n")
    server.kill()
    assert start("always").once("GET", "k") == b"$3\r\nold\r\n"


def test_reply_of_exec_and_its_messages_wait_for_the_sync(start: Start) -> None:
    server = start("always")
    with server.connect() as subscriber, server.connect() as wire:
        subscriber.command("SUBSCRIBE", "c")
        for number in range(3):
            for command in (("MULTI",), ("SET", "k", number), ("PUBLISH", "c", number), ("GET", "k")):
                wire.command(*command)
            server.tell("hold")
            wire.send(encode("EXEC"))
            server.wait_until_held()
            told = select.select([subscriber.socket, wire.socket], [], [], 0.1)[0]
            server.untell("hold")
            server.untell("held")
            assert not told, "a reply or a message that overtakes the sync"
            assert parse(wire.read_reply()) == [b"OK", 1, b"%d" % number]
            assert parse(subscriber.read_reply()) == [b"message", b"c", b"%d" % number]
    server.kill()
    assert start("always").once("GET", "k") == b"$1\r\n2\r\n"


def test_kill_during_a_sync_under_everysec_loses_nothing_that_the_system_has(start: Start) -> None:
    """However long the sync takes, it keeps no write from the system."""
    server = start("everysec")
    story = Story()
    with server.connect() as wire:
        server.tell("hold")
        story.write(wire, 1)
        server.wait_until_held()
        story.write(wire, 40)
    server.kill()
    with start("everysec").connect() as wire:
        assert story.found(wire) == story.acknowledged == 41


@pytest.mark.parametrize("ending", ["kill", "the disk goes on"])
def test_nobody_is_answered_before_the_write_and_8_mb_wait_at_most(start: Start, ending: str) -> None:
    """Under `everysec`, where the new segment of a snapshot waits for a sync of the old one that does not end."""
    server = start("everysec")
    story = Story()
    with server.connect() as wire, server.connect() as other:
        server.tell("hold")
        story.write(wire, 1)
        server.wait_until_held()
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        other.send(encode("SET", "other", "1") + encode("GET", "other"))
        sent_bytes = 0

        def send() -> None:
            nonlocal sent_bytes
            # The server may be gone.
            with suppress(OSError):
                while sent_bytes < 2 * MOST_TAKEN_BYTES:
                    request = b"".join(story.request() for _ in range(100))
                    wire.send(request)
                    sent_bytes += len(request)

        thread = threading.Thread(target=send)
        thread.start()
        # Until no more is taken for a while: who stops too early sees less, but nothing wrong.
        before = -1
        while before < sent_bytes or sent_bytes < PENDING_BYTES:
            before = sent_bytes
            assert not select.select([wire.socket, other.socket], [], [], 1)[0], (
                "a reply to what the system has not been given"
            )
        assert sent_bytes < MOST_TAKEN_BYTES, "the writer does not wait for the disk"
        if ending == "the disk goes on":
            server.untell("hold")
            thread.join()
            assert wire.read_exactly(len(b"+OK\r\n") * (story.sent - 1)) == b"+OK\r\n" * (story.sent - 1)
            assert other.read_exactly(len(b"+OK\r\n$1\r\n1\r\n")) == b"+OK\r\n$1\r\n1\r\n"
            assert info(wire)["aof_pending_bytes"] == "0"
            acknowledged = story.sent + 1
        else:
            acknowledged = 1
        server.kill()
        thread.join()
    with start("everysec").connect() as wire:
        assert wire.value("DBSIZE") >= acknowledged


def test_failed_journal_that_is_switched_off_takes_writes_again(start: Start) -> None:
    server = start("always")
    story = Story()
    with server.connect() as wire:
        story.write(wire, 5)
        fail(server, story, "always", "failed sync")
        assert wire.command("CONFIG", "SET", "appendonly", "no") == b"+OK\r\n"
        server.repair_disk()
        assert info(wire)["aof_last_write_status"] == "ok"
        wait_until(lambda: not wire.command("SAVE").startswith(b"-ERR "), "a snapshot")
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        assert wire.command("CONFIG", "SET", "appendonly", "yes") == b"+OK\r\n"
        assert wire.command("SET", "k", "w") == b"+OK\r\n"
    server.kill()
    assert start("always").once("GET", "k") == b"$1\r\nw\r\n"


def test_shutdown_over_a_failed_journal_is_an_error_until_a_snapshot_succeeds(start: Start) -> None:
    server = start("everysec")
    story = Story()
    with server.connect() as wire:
        story.write(wire, 5)
        fail(server, story, "everysec", "failed sync")
        assert wire.command("SHUTDOWN") == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
        assert wire.value("GET", "write:0") == VALUE
        server.repair_disk()
        wire.send(encode("SHUTDOWN"))
        assert wire.read_until_eof() == b""
    assert server.wait() == 0
    with start("everysec").connect() as wire:
        assert story.found(wire) == story.acknowledged


def test_shutdown_nosave_over_a_failed_journal_leaves_and_says_so(start: Start) -> None:
    server = start("everysec")
    story = Story()
    with server.connect() as wire:
        story.write(wire, 5)
        settle(wire, "everysec", "failed sync")
        fail(server, story, "everysec", "failed sync")
        wire.send(encode("SHUTDOWN", "NOSAVE"))
        assert wire.read_until_eof() == b""
    assert server.wait() == 0
    assert "leaving although the journal could not be synced" in server.log_text()
    with start("everysec").connect() as wire:
        assert story.found(wire) >= 5
