"""A server that follows a source: all data takes the place of the present as a whole, then the commands run as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kvserver
from helpers.fake_source import RUN, FakeSource
from helpers.servers import StartServer, Wire, encode, info, wait_until
from helpers.writers import Setting, settle
from kvserver.data.databases import Databases
from kvserver.embedded import RunningServer
from kvserver.engine import scripts
from kvserver.errors import MediumError
from kvserver.following import follower
from kvserver.following.follower import Follower
from kvserver.persistence.disk import Disk
from kvserver.persistence.slices import BesideLoop
from kvserver.state.session import ServerState
from kvserver.state.source import LinkState

pytestmark = pytest.mark.timeout(60)
SET = encode("SET", "k", "v")


@pytest.fixture
def source() -> Iterator[FakeSource]:
    with FakeSource() as source:
        yield source


@pytest.fixture
def ours() -> Iterator[RunningServer]:
    with kvserver.running() as server:
        yield server


@pytest.fixture
def wire(ours: RunningServer) -> Iterator[Wire]:
    with Wire(ours.port) as wire:
        yield wire


def follow(wire: Wire, source: FakeSource) -> None:
    """Follow a source, up to the end of all data."""
    assert wire.command("REPLICAOF", "127.0.0.1", source.port) == b"+OK\r\n"
    wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows")


def link(wire: Wire) -> dict[str, str]:
    return info(wire, "replication")


def wait_for_error(wire: Wire, text: str) -> None:
    wait_until(lambda: text in link(wire).get("master_link_error", ""), text)


def test_data_is_replaced_and_commands_follow(wire: Wire, source: FakeSource) -> None:
    wire.command("SET", "old", 1)
    follow(wire, source)
    assert wire.value("DBSIZE") == 0
    source.send(SET + encode("SELECT", 2) + SET)
    source.wait_for_offset(100 + len(SET + encode("SELECT", 2) + SET))
    assert wire.value("GET", "k") == b"v"
    fields = link(wire)
    assert (fields["role"], fields["master_replid"]) == ("slave", RUN.decode())
    assert fields["slave_repl_offset"] == fields["slave_read_repl_offset"] == str(100 + len(SET * 2 + encode("SELECT", 2)))
    assert wire.value("ROLE")[3] == b"connected"
    assert wire.command("REPLICAOF", "NO", "ONE") == b"+OK\r\n"
    assert wire.command("SET", "k", "w") == b"+OK\r\n"
    assert wire.value("DBSIZE") == 1


def test_commands_may_come_with_the_data(wire: Wire, source: FakeSource) -> None:
    sets = [encode("SET", f"k{number}", "x" * 100) for number in range(1_000)]
    source.data += b"".join(sets)
    follow(wire, source)
    wait_until(lambda: wire.value("DBSIZE") == len(sets), "all commands have run")
    assert link(wire)["master_link_status"] == "up"
    assert "master_link_error" not in link(wire)


def test_question_is_answered_at_once_by_what_has_run(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    source.wait_for_offset(100)
    source.acknowledged = -1
    source.send(SET * 3 + encode("REPLCONF", "GETACK", "*"))
    source.wait_for_offset(100 + 3 * len(SET))


def test_lost_link_goes_on_where_it_was(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    source.continues = True
    # A transaction that is not whole is asked for again.
    source.send(encode("SELECT", 3) + SET + encode("MULTI") + SET)
    done = 100 + len(encode("SELECT", 3) + SET)
    source.wait_for_offset(done)
    source.cut()
    assert source.wait_for_greetings(2)[-1] == [b"PSYNC", RUN, b"%d" % (done + 1)]
    wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows again")
    source.send(encode("INCR", "n"))
    source.wait_for_offset(done + len(encode("INCR", "n")))
    wire.command("SELECT", 3)
    assert wire.value("MGET", "k", "n") == [b"v", b"1"], "the database is still selected"


def test_source_that_has_forgotten_sends_all_data_again(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    source.send(SET)
    source.wait_for_offset(100 + len(SET))
    source.cut()
    source.wait_for_greetings(2)
    wait_until(lambda: wire.value("DBSIZE") == 0, "the data is what the source has now")


def test_data_stays_while_other_data_is_not_whole(wire: Wire, source: FakeSource) -> None:
    wire.command("SET", "old", 1)
    source.data = source.data[:-1]
    wire.command("REPLICAOF", "127.0.0.1", source.port)
    wait_until(lambda: link(wire).get("master_sync_left_bytes") == "1", "it reads")
    fields = link(wire)
    assert (fields["master_link_status"], fields["master_sync_in_progress"]) == ("down", "1")
    assert (fields["master_sync_read_bytes"], fields["master_sync_perc"]) == ("35", "97.22")
    assert wire.value("ROLE")[3:] == [b"sync", -1]
    assert wire.value("GET", "old") == b"1"
    source.cut()
    source.wait_for_greetings(2)
    assert wire.value("GET", "old") == b"1"
    assert wire.command("REPLICAOF", "NO", "ONE") == b"+OK\r\n"
    assert wire.command("SET", "new", 1) == b"+OK\r\n"
    assert wire.value("MGET", "old", "new") == [b"1", b"1"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"$14\r\nREDIS0011\xfc\xff\xff\xff\xff", "does not end where"),
        (b"$10\r\nREDIS0011\xc8", "200 is no type and no opcode"),
        (b"$9\r\nREDIS0099", "has version 99"),
        (b"+WHAT\r\n", "Bad protocol from MASTER"),
    ],
)
def test_data_that_cannot_be_read_ends_it_and_the_present_stays(
    wire: Wire, source: FakeSource, data: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire.command("SET", "old", 1)
    source.data = data
    wire.command("REPLICAOF", "127.0.0.1", source.port)
    wait_for_error(wire, told)
    assert "has ended, and the data stays as it is: " in caplog.text
    assert wire.value("GET", "old") == b"1"
    assert wire.command("SET", "old", 2).startswith(b"-READONLY")
    assert len(source.greeted) == 1, "nobody tries again"


def test_unknown_command_ends_it_until_somebody_tries_again(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    source.send(SET + encode("FT.CREATE", "index", "x") + encode("SET", "behind", 1))
    wait_for_error(wire, "FT.CREATE index …: ERR unknown command 'FT.CREATE'")
    assert wire.value("MGET", "k", "behind") == [b"v", None]
    assert wire.command("REPLICAOF", "127.0.0.1", source.port) == b"+OK\r\n"
    source.wait_for_greetings(2)
    wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows again")


def test_old_source_may_send_scripts_and_times_from_now(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    script = "redis.call('SET', KEYS[1], ARGV[1]); redis.call('EXPIRE', KEYS[1], 100)"
    failing = "redis.call('SET', KEYS[1], 'done'); error('on purpose')"
    source.send(
        encode("EVAL", script, 1, "k", "v")
        + encode("EVAL", failing, 1, "f")
        + encode("SETEX", "s", 100, "v")
        + encode("SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])")
        + encode("EVALSHA", "93d2e7a9ee8b2bd1bda9a1c9ba1b8ee6ae1d4a0d", 0)
    )
    wait_for_error(wire, "NOSCRIPT")
    for key in ("k", "s"):
        assert 90 < wire.value("TTL", key) <= 100
    assert wire.value("GET", "f") == b"done"


def test_script_that_fails_by_a_command_is_told(wire: Wire, source: FakeSource, caplog: pytest.LogCaptureFixture) -> None:
    follow(wire, source)
    source.send(encode("EVAL", "redis.call('INCR', KEYS[1])", 1, "k") * 2 + encode("EVAL", "redis.call('SHUTDOWN')", 0) + SET)
    wait_until(lambda: wire.value("GET", "k") == b"v", "it goes on")
    assert "a script of the source fails: ERR This Redis command is not allowed from script" in caplog.text


def test_script_that_does_not_end_ends_the_following(wire: Wire, source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server serves nobody meanwhile, and nobody else could end it."""
    monkeypatch.setattr(scripts, "LIMIT_S", 0.2)
    follow(wire, source)
    source.send(SET + encode("EVAL", "while true do end", 0) + encode("SET", "behind", "v"))
    wait_for_error(wire, "EVAL while true do end …: ERR the script has run for a minute")
    assert wire.value("MGET", "k", "behind") == [b"v", None]
    assert link(wire)["master_link_given_up"] == "1"


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({b"PING": b"-DENIED no\r\n"}, "Error reply to PING from master"),
        ({b"AUTH": b"-WRONGPASS no\r\n"}, "Unable to AUTH to MASTER: -WRONGPASS no"),
        ({b"PSYNC": b"-LOADING x\r\n"}, "Master is currently unable to PSYNC but should be in the future: -LOADING x"),
        ({b"PSYNC": b"-ERR unknown command 'PSYNC'\r\n"}, "the source lets nobody follow it"),
        ({b"PSYNC": b"x" * 200_000}, "Error condition on socket for SYNC: a line of more than 65536 bytes"),
    ],
)
def test_refusal_is_told_and_tried_again(
    source: FakeSource, answers: dict[bytes, bytes], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kvserver")
    source.answers = answers
    with kvserver.running(masterauth="secret", masteruser="me") as ours, Wire(ours.port) as wire:
        wire.command("REPLICAOF", "127.0.0.1", source.port)
        wait_for_error(wire, told)
        assert caplog.text.count(told) == 1
        source.answers = {}
        wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows")
        assert [b"AUTH", b"me", b"secret"] in source.greeted[-1]
        assert caplog.text.count(told) == 1, "what is the same each second is told once"


def test_source_that_is_silent_is_given_up(source: FakeSource) -> None:
    with kvserver.running(repl_timeout=1) as ours, Wire(ours.port) as wire:
        follow(wire, source)
        source.wait_for_greetings(2)
        assert link(wire)["role"] == "slave"


def test_other_source_is_followed_instead(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    with FakeSource() as other:
        other.data = b"$EOF:%b\r\n%b%b" % (b"m" * 40, source.data.partition(b"\r\n")[2], b"m" * 40)
        follow(wire, other)
        assert link(wire)["master_port"] == str(other.port)
        other.send(SET)
        other.wait_for_offset(100 + len(SET))
        source.send(encode("SET", "k", "not this"))
        assert wire.value("GET", "k") == b"v"


def test_who_waits_is_sent_away(ours: RunningServer, wire: Wire, source: FakeSource) -> None:
    with Wire(ours.port) as blocked:
        blocked.send(encode("BLPOP", "l", 0))
        wait_until(lambda: info(wire, "clients")["blocked_clients"] == "1", "it waits")
        wire.command("REPLICAOF", "127.0.0.1", source.port)
        assert blocked.read_until_eof().startswith(b"-UNBLOCKED force unblock from blocking operation")


def test_option_begins_it_and_a_start_takes_all_data_anew(source: FakeSource, tmp_path: Path) -> None:
    options: dict[str, Any] = {"dir": str(tmp_path), "replicaof": f"127.0.0.1 {source.port}"}
    with kvserver.running(**options) as ours, Wire(ours.port) as wire:
        assert wire.command("SET", "k", "v").startswith(b"-READONLY"), "from the first command on"
        wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows")
        source.send(SET)
        source.wait_for_offset(100 + len(SET))
        assert wire.value("CONFIG", "GET", "replicaof") == [b"replicaof", options["replicaof"].encode()]
    with kvserver.running(dir=str(tmp_path)) as ours, Wire(ours.port) as wire:
        assert wire.value("GET", "k") == b"v", "what has run is kept"
    with kvserver.running(**options) as ours, Wire(ours.port) as wire:
        wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows")
        assert source.wait_for_greetings(2)[-1] == [b"PSYNC", b"?", b"-1"]
        assert wire.value("DBSIZE") == 0


def test_engine_has_a_log_to_follow(tmp_path: Path) -> None:
    with pytest.raises(kvserver.ConfigError, match="medium is given, too: the nodes of an engine follow its log"):
        kvserver.Server(medium=f"file:{tmp_path}", replicaof="127.0.0.1 1")


def test_data_as_a_whole_is_the_sources_to_say(wire: Wire, source: FakeSource) -> None:
    follow(wire, source)
    for words in (["RESTORE"], ["DEBUG", "RELOAD"], ["FLUSHALL"]):
        assert wire.command(*words).startswith(b"-READONLY"), words
    for words in (["SAVE"], ["BGSAVE"], ["LASTSAVE"]):
        assert not wire.command(*words).startswith(b"-"), words


# --- Ends ---


class SlowSnapshots:
    """Snapshots that adopt data when a test says so."""

    def __init__(self, state: ServerState) -> None:
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.error: Exception | None = None
        self._state = state

    async def adopt(self, databases: Databases, command: str) -> None:
        self.has_begun.set()
        await self.may_end.wait()
        if self.error:
            raise self.error
        self._state.databases.replace(databases.give())


class Adopting:
    """A follower that is about to adopt all data."""

    def __init__(self, source: FakeSource) -> None:
        self.setting = Setting()
        state = self.setting.server.state
        self.facts = state.replication
        self.snapshots = SlowSnapshots(state)
        disk = Disk()
        disk.close()
        workplace = BesideLoop(disk, state.counters, state.persistence)
        snapshots: Any = self.snapshots
        self.follower = Follower(state, self.setting.server.table, self.setting.writer, snapshots, workplace)
        self.keyspace = state.databases[0]
        self.keyspace.set(b"old", b"1")
        self.follower.begin("127.0.0.1", source.port)


async def until(condition: Callable[[], bool]) -> None:
    """Let the follower go on until this is so."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_primary_again_when_the_data_has_taken_its_place(source: FakeSource) -> None:
    adopting = Adopting(source)
    await adopting.snapshots.has_begun.wait()
    ending = adopting.follower.end()
    assert ending is not None
    task = asyncio.create_task(ending)
    await settle()
    assert not task.done()
    assert not adopting.facts.is_primary, "half of it is nothing"
    adopting.snapshots.may_end.set()
    await task
    assert adopting.facts.is_primary
    assert len(adopting.keyspace) == 0, "it is what the source had"


async def test_other_source_is_followed_when_the_data_has_taken_its_place(source: FakeSource) -> None:
    adopting = Adopting(source)
    await adopting.snapshots.has_begun.wait()
    with FakeSource() as other:
        adopting.snapshots.has_begun.clear()
        adopting.follower.begin("127.0.0.1", other.port)
        await settle()
        assert other.greeted == []
        adopting.snapshots.may_end.set()
        await adopting.snapshots.has_begun.wait()
        assert adopting.facts.source
        assert adopting.facts.source.port == other.port
        await adopting.follower.close()


async def test_primary_at_once_where_nothing_takes_its_place(source: FakeSource) -> None:
    source.data = source.data[:-1]
    adopting = Adopting(source)
    await until(lambda: bool(adopting.facts.source and adopting.facts.source.synced_bytes))
    assert adopting.follower.end() is None
    assert adopting.facts.is_primary
    assert adopting.facts.source is None
    assert adopting.keyspace.live(b"old") == b"1"
    await adopting.follower.close()
    assert not adopting.snapshots.has_begun.is_set()


async def test_data_that_cannot_be_kept_leaves_the_present(source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "RETRY_KEEPING_S", 0.01)
    adopting = Adopting(source)
    adopting.snapshots.error = MediumError("no space left")
    adopting.snapshots.may_end.set()
    await adopting.snapshots.has_begun.wait()
    await until(lambda: bool(adopting.facts.source and adopting.facts.source.error == "no space left"))
    assert adopting.keyspace.live(b"old") == b"1"
    adopting.snapshots.error = None
    await until(lambda: bool(adopting.facts.source and adopting.facts.source.state is LinkState.CONNECTED))
    assert len(adopting.keyspace) == 0
    adopting.follower.end()
    await adopting.follower.close()


async def test_server_that_leaves_waits_for_the_data_that_takes_its_place(source: FakeSource) -> None:
    adopting = Adopting(source)
    await adopting.snapshots.has_begun.wait()
    closing = asyncio.create_task(adopting.follower.close())
    await settle()
    assert not closing.done()
    adopting.snapshots.may_end.set()
    await closing


async def test_killed_one_ends_at_once(source: FakeSource) -> None:
    adopting = Adopting(source)
    await adopting.snapshots.has_begun.wait()
    adopting.follower.halt()
    await adopting.follower.close()
    assert adopting.keyspace.live(b"old") == b"1"


def test_source_is_written_to_the_file_of_options(source: FakeSource, start_server: StartServer, tmp_path: Path) -> None:
    file = tmp_path / "kvserver.toml"
    file.write_text("# mine\n")
    server = start_server("--config", str(file))
    with server.connect() as wire:
        follow(wire, source)
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        assert f'replicaof = "127.0.0.1 {source.port}"\n' in file.read_text()
        server.kill()
    server.restart()
    with server.connect() as wire:
        wait_until(lambda: link(wire)["master_link_status"] == "up", "it follows")
        assert wire.command("REPLICAOF", "NO", "ONE") == b"+OK\r\n"
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        assert 'replicaof = ""\n' in file.read_text()
