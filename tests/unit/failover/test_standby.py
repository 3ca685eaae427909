"""A node that follows: entries run in order and whole, and at a break it stops."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from helpers.node_parts import fresh_engine, table_of
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.errors import ChainBroken, MediumError, Trimmed
from kvserver.failover.standby import Standby
from kvserver.formats.control import Lead, encode_lead, encode_yield
from kvserver.formats.frame import encode_header
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_records, encode_tick, pack
from kvserver.media.shared import Engine, Entry, Tip
from kvserver.media.vault_medium import VaultMedium
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.persistence.frames import Frames
from kvserver.persistence.slices import BesideLoop
from kvserver.state.scripts import NoScripts
from kvserver.state.session import ServerState

pytestmark = pytest.mark.timeout(30)
LEAD = Lead(1, "first", "127.0.0.1", 1, 3000)


def record(*words: str) -> bytes:
    frame = encode_tick([[word.encode() for word in words]], 5)
    assert frame
    return frame


class Writer:
    """A node that writes the log which is followed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tip = Tip()
        self.epoch = 0

    def lead(self, epoch: int = 1) -> None:
        self.epoch = epoch
        self.append(encode_lead(LEAD._replace(epoch=epoch)))

    def append(self, *pieces: bytes) -> list[Entry]:
        entries = []
        for data in pieces:
            mark = self.tip.mark(self.epoch)
            position = self.engine.log.append(data, mark, self.tip.position)
            self.tip = self.tip.behind(position, mark, data)
            entries.append(Entry(position, mark, data))
        return entries

    def save(self, payload: bytes) -> str:
        medium = VaultMedium(self.engine.vault)
        medium.look()
        frame, digest = medium.begin_frame(), hashlib.sha256(payload).hexdigest()
        frame.write(payload)
        frame.commit(encode_header(len(payload), digest))
        medium.link(digest, self.tip)
        return digest


class Following:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.state = ServerState(Config(), Databases(lambda: 1_000_000), COMMANDS, lambda: 1_000_000)
        self.disk = Disk()
        workplace = BesideLoop(self.disk, self.state.counters, self.state.persistence)
        self.medium = VaultMedium(engine.vault)
        frames = Frames(self.state, self.medium, workplace)
        self.wakes = 0
        self.standby = Standby(self.state, table_of(self.state), frames, self.medium, workplace, self.wake)
        self.state.databases.follow()

    def wake(self) -> None:
        self.wakes += 1

    async def catch_up(self) -> None:
        while entries := self.engine.log.read(self.standby.entries.tip.position, 0):
            await self.standby.follow(entries)

    def value(self, key: bytes) -> str | None:
        value = self.state.databases[0].live(key)
        assert value is None or isinstance(value, bytes)
        return None if value is None else value.decode()


@pytest.fixture
def writer() -> Writer:
    return Writer(fresh_engine())


async def test_entries_become_data_and_tell_who_leads(writer: Writer) -> None:
    following = Following(writer.engine)
    await following.standby.load()
    writer.lead()
    writer.append(record("SET", "a", "1"), b"", record("INCR", "a") + record("SET", "b", "2"))
    await following.catch_up()
    assert (following.value(b"a"), following.value(b"b")) == ("2", "2")
    standby = following.standby
    assert (standby.entries.epoch, standby.entries.lead, standby.entries.has_yielded) == (1, LEAD, False)
    assert standby.entries.tip == writer.tip
    assert following.state.replication.applied == 4
    assert not following.state.databases.records.has_any
    writer.append(encode_yield(1))
    await following.catch_up()
    assert standby.entries.has_yielded
    writer.lead(2)
    await following.catch_up()
    assert (standby.entries.epoch, standby.entries.has_yielded) == (2, False)


async def test_snapshot_and_the_entries_behind_it_are_all(writer: Writer) -> None:
    writer.lead()
    writer.append(record("SET", "a", "1"))
    writer.save(b'{"a":"1"}')
    writer.engine.log.trim(writer.tip.position)
    writer.append(record("INCR", "a"))
    following = Following(writer.engine)
    await following.standby.load()
    assert following.value(b"a") == "1"
    assert following.standby.entries.epoch == 1
    assert following.state.replication.applied == 2
    assert following.standby.growth.behind(2) == (0, 0)
    await following.catch_up()
    assert following.value(b"a") == "2"
    first, two = record("INCR", "a"), record("SET", "b", "1") + record("SET", "c", "1")
    writer.append(two[:-5], two[-5:])
    await following.catch_up()
    assert following.standby.growth.behind(2) == (len(first) + len(two), 3)
    assert following.standby.growth.behind(3) == (len(two), 2)


async def test_no_snapshot_is_read_but_the_one_that_the_log_goes_on_from(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.lead()
    writer.save(b'{"a":"older"}')
    writer.append(record("SET", "a", "1"))
    writer.save(b'{"a":"linked"}')
    medium = VaultMedium(writer.engine.vault)
    linked, read, names = medium.look().linked, writer.engine.vault.read, set[str]()

    def told(name: str, offset: int, length: int) -> bytes:
        names.add(name)
        return read(name, offset, length)

    monkeypatch.setattr(writer.engine.vault, "read", told)
    following = Following(writer.engine)
    await following.standby.load()
    assert following.value(b"a") == "linked"
    assert names == {frame.name for frame in medium.frames if frame.digest == linked}
    facts = following.state.persistence
    assert (facts.medium_frames, facts.medium_bytes, facts.keys_loaded) == (2, medium.size(), 1)
    assert facts.load_total_bytes == facts.load_done_bytes == medium.frames[-1].frame_length


@pytest.mark.parametrize("size", [1, 7, 30, 100_000])
async def test_record_counts_when_its_last_byte_is_there(writer: Writer, size: int) -> None:
    following = Following(writer.engine)
    writer.lead()
    value = "x" * (300 if size < 1000 else 700_000)
    long = encode_records([pack([[b"SET", b"b", value.encode()]])], [5])
    data = record("SET", "a", "1") + long + record("SET", "c", "3")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    writer.append(*pieces[:-1])
    await following.catch_up()
    assert following.value(b"c") is None
    writer.append(pieces[-1])
    await following.catch_up()
    assert (following.value(b"a"), following.value(b"b"), following.value(b"c")) == ("1", value, "3")


async def test_half_a_record_of_a_node_that_died_does_not_count(writer: Writer) -> None:
    following = Following(writer.engine)
    writer.lead()
    writer.append(record("SET", "a", "1"), record("SET", "a", "2")[:20])
    writer.lead(2)
    writer.append(record("SET", "b", "3"))
    await following.catch_up()
    assert (following.value(b"a"), following.value(b"b")) == ("1", "3")


async def test_control_bytes_inside_a_long_value_are_no_control(writer: Writer) -> None:
    following = Following(writer.engine)
    writer.lead()
    inner = encode_lead(LEAD._replace(epoch=9)).decode()
    data = record("SET", "a", inner)
    place = data.index(b"KVJ1")
    writer.append(data[:place], data[place:])
    await following.catch_up()
    assert following.value(b"a") == inner
    assert following.standby.entries.epoch == 1


async def test_key_that_is_due_stays_until_the_log_says_that_it_went(writer: Writer) -> None:
    following = Following(writer.engine)
    writer.lead()
    writer.append(record("SET", "a", "1", "PXAT", "10"))
    await following.catch_up()
    assert following.value(b"a") is None
    assert following.state.databases.key_count == 1
    writer.append(record("DEL", "a"))
    await following.catch_up()
    assert following.state.databases.key_count == 0


async def test_transaction_is_never_half_there(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(writer.engine)
    writer.lead()
    commands = [[b"INCR", b"n"] for _ in range(2000)]
    seen: set[object] = set()
    frame = encode_tick(commands, 5)
    assert frame
    writer.append(frame + record("INCR", "n"))

    class Pace:
        is_over = True

        async def next(self) -> None:
            seen.add(following.value(b"n"))

        async def run(self, steps: object) -> list[object]:
            return []

    monkeypatch.setattr(BesideLoop, "pace", lambda self: Pace())
    await following.catch_up()
    assert following.value(b"n") == "2001"
    assert {None, "2000"} <= seen <= {None, "2000", "2001"}


async def test_restore_is_followed(writer: Writer) -> None:
    following = Following(writer.engine)
    writer.lead()
    digest = writer.save(b'{"a":"saved"}')
    writer.append(record("SET", "a", "later"), encode_link(digest), record("SET", "b", "1"))
    await following.standby.load()
    await following.catch_up()
    assert (following.value(b"a"), following.value(b"b")) == ("saved", "1")
    writer.append(encode_link(EMPTY_STORE))
    await following.catch_up()
    assert following.state.databases.key_count == 0
    writer.append(encode_link("0" * 64))
    with pytest.raises(Trimmed):
        await following.catch_up()


FAULTS = ("gap", "other", "older epoch", "epoch without lead", "damage", "unknown command", "no control")


def changed(entry: Entry, **changes: Any) -> Entry:
    return entry._replace(mark=entry.mark._replace(**changes))


@pytest.mark.parametrize("fault", FAULTS)
async def test_break_stops_and_changes_nothing(writer: Writer, fault: str) -> None:
    following = Following(writer.engine)
    writer.lead(2)
    await following.catch_up()
    (entry,) = writer.append(record("SET", "a", "1"))
    broken = {
        "gap": changed(entry, number=entry.mark.number + 1),
        "other": changed(entry, digest="00" * 16),
        "older epoch": changed(entry, epoch=1),
        "epoch without lead": changed(entry, epoch=3),
        "damage": entry._replace(data=entry.data[:-3] + b"x\r\n"),
        "unknown command": entry._replace(data=record("NOSUCH", "a")),
        "no control": entry._replace(data=b"KVJ1" + entry.data[4:]),
    }[fault]
    with pytest.raises(ChainBroken):
        await following.standby.follow([broken])
    assert following.value(b"a") is None
    assert following.standby.entries.tip.number == 1


async def test_entry_that_could_not_be_read_may_come_again(writer: Writer) -> None:
    following = Following(writer.engine)
    writer.lead()
    writer.append(record("SET", "a", "1")[:20])
    await following.catch_up()
    (entry,) = writer.append(record("SET", "a", "1")[20:])
    for broken in (changed(entry, epoch=2), entry._replace(data=entry.data[:-3] + b"x\r\n")):
        for _ in range(2):
            with pytest.raises(ChainBroken):
                await following.standby.follow([broken])
    await following.catch_up()
    assert following.value(b"a") == "1"


async def test_entry_that_ended_in_its_middle_never_runs_again(writer: Writer) -> None:
    following = Following(writer.engine)
    writer.lead()
    writer.append(record("SET", "a", "1"))
    await following.catch_up()
    writer.save(b'{"a":"4"}')
    data = encode_records([pack([[b"INCR", b"a"]]), pack([[b"NOSUCH", b"a"]])], [5, 5])
    writer.append(data)
    for _ in range(3):
        with pytest.raises(ChainBroken, match="the entry 3 can't be run"):
            await following.catch_up()
        with pytest.raises(ChainBroken, match="the entry 3 can't be run"):
            await following.standby.follow([])
    assert following.value(b"a") in ("1", "2")
    await following.standby.load()
    await following.standby.follow([])
    assert following.value(b"a") == "4"


class ScriptAside(NoScripts[Any]):
    """A script that stands aside until `end`."""

    def __init__(self) -> None:
        super().__init__()
        self.busy_error = "BUSY"
        self._whole = asyncio.Event()
        self.is_waited_for = asyncio.Event()

    def end(self) -> None:
        self.busy_error = ""
        self._whole.set()

    async def wait(self) -> None:
        self.is_waited_for.set()
        await self._whole.wait()


@pytest.mark.parametrize("change", ["record", "later record", "snapshot", "link"])
async def test_nothing_changes_while_a_script_stands_aside(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    following = Following(writer.engine)
    script = ScriptAside()
    writer.lead()
    if change == "later record":
        # The script begins between two steps.
        class Pace:
            is_over = True

            async def next(self) -> None:
                if following.value(b"n") and following.state.scripts is not script:
                    following.state.scripts = script

        writer.append(record("SET", "n", "1"))
        await following.catch_up()
        monkeypatch.setattr(BesideLoop, "pace", lambda self: Pace())
    else:
        following.state.scripts = script
    if change in ("record", "later record"):
        writer.append(record("SET", "a", "1"))
    else:
        digest = writer.save(b'{"a":"1"}')
        writer.append(encode_link(digest))
    work = following.standby.load() if change == "snapshot" else following.catch_up()
    task = asyncio.get_running_loop().create_task(work)
    waiting = asyncio.get_running_loop().create_task(script.is_waited_for.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert (task.done(), following.value(b"a")) == (False, None)
    script.end()
    await task
    assert following.value(b"a") == "1"


@pytest.mark.parametrize("damage", ["gone", "short", "changed"])
async def test_snapshot_that_is_not_what_the_manifest_says_is_an_error_and_no_data(writer: Writer, damage: str) -> None:
    writer.lead()
    writer.save(b'{"a":"1"}')
    vault = writer.engine.vault
    manifest, _ = vault.manifest()
    assert manifest
    (name,) = [frame.name for frame in manifest.frames]
    objects = vault.objects  # type: ignore[attr-defined]
    if damage == "gone":
        vault.remove([name])
    else:
        objects[name] = b'{"a":' if damage == "short" else b'{"a":"2"}'
    following = Following(writer.engine)
    with pytest.raises(MediumError):
        await following.standby.load()
    assert following.state.databases.key_count == 0
    assert following.standby.entries.tip == Tip()
    assert vault.manifest()[0] == manifest


async def test_position_is_that_of_the_manifest(writer: Writer) -> None:
    writer.lead()
    writer.save(b"{}")
    following = Following(writer.engine)
    await following.standby.load()
    assert following.standby.entries.tip.position == Position(1, 1) != BEGINNING
