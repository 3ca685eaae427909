"""Copies of snapshots in a vault: what gets there, whose backups they are, and what becomes of failures at any point."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from helpers.frames import frame
from kvserver.errors import ManifestInvalid, MediumError, StartError, Unknown
from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.manifest import Manifest, StoredFrame
from kvserver.formats.scan import Frame
from kvserver.media.medium import COPY_BYTES
from kvserver.media.memory import MemoryMedium
from kvserver.media.memory_engine import MemoryVault
from kvserver.persistence import backup as module
from kvserver.persistence.backup import Backup
from kvserver.state.statistics import BackupFacts

OWNER, OTHER = "a" * 32, "b" * 32
DEADLINE_S = 20


class FaultyVault(MemoryVault):
    """A vault whose calls fail, or wait, as a test says: `faults` has what happens before the call of a name."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, Callable[[], None]] = {}
        self.calls: list[str] = []
        self.begun: list[str] = []
        self.removed: list[list[str]] = []
        # The manifest that lands although its outcome is told to be unknown.
        self.lands_unknown = False

    def _meet(self, name: str) -> None:
        self.calls.append(name)
        self.faults.get(name, lambda: None)()

    def begin(self) -> FaultyWriter:  # type: ignore[override]
        self._meet("begin")
        return FaultyWriter(self, super().begin())

    def manifest(self) -> tuple[Manifest | None, str]:
        self._meet("manifest")
        return super().manifest()

    def commit(self, manifest: Manifest, tag: str) -> str:
        if self.lands_unknown:
            super().commit(manifest, tag)
        self._meet("commit")
        return super().commit(manifest, tag)

    def remove(self, names: list[str]) -> None:
        self.removed.append(names)
        self._meet("remove")
        super().remove(names)


class FaultyWriter:
    def __init__(self, vault: FaultyVault, writer: object) -> None:
        self._vault = vault
        self._writer = writer
        self.name: str = writer.name  # type: ignore[attr-defined]
        vault.begun.append(self.name)

    def __getattr__(self, name: str) -> Callable[..., None]:
        self._vault._meet(name)
        return getattr(self._writer, name)  # type: ignore[no-any-return]


def failing(error: Exception, times: int = 1_000_000) -> Callable[[], None]:
    left = [times]

    def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return fail


def waiting_for(gate: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        gate.wait(DEADLINE_S)

    return wait


class Setting:
    """A medium to which a test adds frames, and its backup in a vault."""

    def __init__(self, vault: FaultyVault | None = None, owner: str = OWNER, keep: int = 3) -> None:
        self.vault = vault or FaultyVault()
        self.facts = BackupFacts()
        self.facts.url = "memory://backups"
        self.medium = MemoryMedium()
        self.frames: list[Frame] = []
        self.keep = keep
        self.backup = Backup(
            self.facts,
            self.vault,
            owner,
            "/data/dump.kvs.owner",
            lambda: self.frames[-1] if self.frames else None,
            lambda: MemoryMedium(self.medium.read_all()),
            lambda: self.keep,
        )

    def add(self, **store: str) -> str:
        """Add a frame, as a flush does. Return its payload's digest."""
        data = frame(store)
        offset = self.medium.size()
        self.medium.append(data)
        digest = data[16:HEADER_SIZE].decode()
        self.frames.append(Frame(offset, len(data) - HEADER_SIZE, digest, len(store)))
        self.backup.wake()
        return digest

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            # Each turn of the loop brings the backup on.
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def arrived(self, digest: str) -> None:
        await self.until(lambda: self.linked == digest and not self.facts.waiting_since)

    @property
    def kept(self) -> Manifest:
        manifest, _ = MemoryVault.manifest(self.vault)
        assert manifest
        return manifest

    @property
    def linked(self) -> str:
        return getattr(MemoryVault.manifest(self.vault)[0], "linked", "")

    def check(self) -> None:
        """Each frame of the manifest is there byte for byte, and no object besides."""
        assert set(self.vault.objects) == {found.name for found in self.kept.frames}
        for found in self.kept.frames:
            assert found.header + self.vault.objects[found.name] in self.medium.read_all()


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    setting = Setting()
    yield setting
    setting.backup.abandon()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.005)
    caplog.set_level(logging.INFO)


# --- what gets there


async def test_each_snapshot_gets_there_and_as_many_stay_as_are_to_be_kept(setting: Setting) -> None:
    await setting.backup.begin()
    digests = []
    for number in range(6):
        digests.append(setting.add(key=f"value {number}" * 100))
        await setting.arrived(digests[-1])
        setting.check()
        assert [found.digest for found in setting.kept.frames] == digests[-3:]
    assert (setting.kept.owner, setting.kept.counter) == (OWNER, 6)
    assert setting.facts.last_at > 0


@pytest.mark.parametrize("keep", [1, 2])
async def test_fewer_may_be_kept(keep: int) -> None:
    setting = Setting(keep=keep)
    await setting.backup.begin()
    for number in range(4):
        await setting.arrived(setting.add(key=str(number)))
    assert len(setting.kept.frames) == keep
    setting.check()
    setting.backup.abandon()


async def test_no_more_are_kept_than_a_manifest_may_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.persistence.backup.MOST_FRAMES", 2)
    setting = Setting(keep=1_000_000_000)
    await setting.backup.begin()
    for number in range(4):
        await setting.arrived(setting.add(key=str(number)))
    assert len(setting.kept.frames) == 2
    setting.check()
    setting.backup.abandon()


async def test_long_snapshot_goes_in_pieces(setting: Setting) -> None:
    await setting.backup.begin()
    await setting.arrived(setting.add(key="x" * (2 * COPY_BYTES + 17)))
    assert setting.vault.calls.count("write") == 3
    setting.check()


async def test_start_sends_what_was_not_there_and_nothing_twice(setting: Setting) -> None:
    digest = setting.add(key="value")
    await setting.backup.begin()
    setting.backup.wake()
    await setting.arrived(digest)
    await setting.backup.leave()
    again = Setting(setting.vault)
    again.medium, again.frames = setting.medium, setting.frames
    await again.backup.begin()
    again.backup.wake()
    await again.until(lambda: again.facts.last_at > 0 and not again.facts.in_progress)
    assert len(setting.vault.begun) == 1
    assert again.kept.counter == 1
    again.backup.abandon()


async def test_data_that_went_back_is_named_anew_and_not_sent_again(setting: Setting) -> None:
    await setting.backup.begin()
    first = setting.add(key="old")
    await setting.arrived(first)
    await setting.arrived(setting.add(key="new"))
    setting.frames.append(setting.frames[0])
    setting.backup.wake()
    await setting.arrived(first)
    assert [found.digest for found in setting.kept.frames] == [setting.frames[1].digest, first]
    assert len(setting.vault.begun) == 2
    setting.check()


async def test_newest_goes_next_when_several_have_come_meanwhile(setting: Setting) -> None:
    gate = threading.Event()
    setting.vault.faults["begin"] = waiting_for(gate)
    await setting.backup.begin()
    first = setting.add(key="0")
    await setting.until(lambda: "begin" in setting.vault.calls)
    assert setting.facts.in_progress
    assert setting.facts.waiting_since > 0
    for number in range(1, 5):
        last = setting.add(key=str(number))
    gate.set()
    await setting.arrived(last)
    assert [found.digest for found in setting.kept.frames] == [first, last]
    assert not setting.facts.in_progress


async def test_loop_goes_on_while_the_vault_waits(setting: Setting) -> None:
    gate = threading.Event()
    setting.vault.faults["write"] = waiting_for(gate)
    await setting.backup.begin()
    digest = setting.add(key="value")
    await setting.until(lambda: "write" in setting.vault.calls)
    for _ in range(100):
        await asyncio.sleep(0)
    assert setting.linked == ""
    gate.set()
    await setting.arrived(digest)


# --- failures


@pytest.mark.parametrize("name", ["manifest", "begin", "write", "commit"])
@pytest.mark.parametrize(
    "error", [MediumError("no route"), Unknown("cut off"), ValueError("a bug")], ids=lambda e: type(e).__name__
)
async def test_what_fails_is_told_once_and_tried_until_it_is_there(
    setting: Setting, caplog: pytest.LogCaptureFixture, name: str, error: Exception
) -> None:
    await setting.backup.begin()
    setting.vault.faults[name] = failing(error, 3)
    digest = setting.add(key="value")
    await setting.until(lambda: setting.facts.error != "")
    assert setting.facts.error == str(error)
    assert setting.facts.waiting_since > 0
    await setting.arrived(digest)
    assert not setting.facts.error
    assert caplog.text.count("are not copied to memory://backups, which is tried again") == 1
    assert "copied to memory://backups again" in caplog.text
    setting.check()


async def test_object_whose_manifest_failed_is_not_sent_again(setting: Setting) -> None:
    await setting.backup.begin()
    setting.vault.faults["commit"] = lambda: None
    await setting.arrived(setting.add(key="value"))
    # The writer has a `commit`, too: the third of these calls is the manifest's.
    outcomes = iter([None, Unknown("cut off")])

    def fail_manifest() -> None:
        if error := next(outcomes, None):
            raise error

    setting.vault.faults["commit"] = fail_manifest
    await setting.arrived(setting.add(key="another"))
    assert len(setting.vault.begun) == 2
    setting.check()


async def test_manifest_that_has_landed_though_nobody_knew_is_found_by_reading(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    await setting.backup.begin()
    setting.vault.lands_unknown = True
    outcomes = iter([None, Unknown("cut off")])

    def fail_manifest() -> None:
        if error := next(outcomes, None):
            raise error

    setting.vault.faults["commit"] = fail_manifest
    digest = setting.add(key="value")
    await setting.arrived(digest)
    assert setting.kept.counter == 1
    assert "tried again" not in caplog.text
    setting.vault.lands_unknown = False
    await setting.arrived(setting.add(key="more"))
    setting.check()


async def test_newer_snapshot_does_not_wait_for_the_next_try(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 1e6)
    await setting.backup.begin()
    setting.vault.faults["begin"] = failing(MediumError("no route"), 1)
    setting.add(key="value")
    await setting.until(lambda: setting.facts.error != "")
    await setting.arrived(setting.add(key="another"))


async def test_failure_of_an_older_snapshot_is_not_told_when_a_newer_one_is_there(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    await setting.backup.begin()
    gate = threading.Event()

    def fail() -> None:
        del setting.vault.faults["begin"]
        gate.wait(DEADLINE_S)
        raise MediumError("its file is another one now")

    setting.vault.faults["begin"] = fail
    setting.add(key="0")
    await setting.until(lambda: "begin" in setting.vault.calls)
    last = setting.add(key="1")
    gate.set()
    await setting.arrived(last)
    assert "another one" not in caplog.text


async def test_snapshot_that_can_not_be_read_as_written_never_counts(setting: Setting) -> None:
    await setting.backup.begin()
    setting.medium.append(b"x" * 1000)
    broken = frame({"key": "value"})
    setting.medium.append(broken[:-3] + b"!" + broken[-2:])
    setting.frames.append(Frame(1000, len(broken) - HEADER_SIZE, broken[16:HEADER_SIZE].decode(), 1))
    setting.backup.wake()
    await setting.until(lambda: "can't be read as it was written" in setting.facts.error)
    assert MemoryVault.manifest(setting.vault) == (None, "")
    await setting.until(lambda: not setting.vault.objects)


async def test_snapshot_that_has_moved_is_told(setting: Setting) -> None:
    await setting.backup.begin()
    setting.add(key="value")
    setting.frames[-1] = setting.frames[-1]._replace(offset=17)
    await setting.until(lambda: "not at offset 17" in setting.facts.error)


async def test_what_can_not_be_removed_is_removed_later(setting: Setting) -> None:
    setting.keep = 1
    await setting.backup.begin()
    await setting.arrived(setting.add(key="0"))
    setting.vault.faults["remove"] = failing(MediumError("no route"), 1)
    await setting.arrived(setting.add(key="1"))
    await setting.until(lambda: "remove" in setting.vault.calls)
    assert not setting.facts.error
    await setting.arrived(setting.add(key="2"))
    await setting.until(lambda: len(setting.vault.objects) == 1)
    setting.check()
    await setting.arrived(setting.add(key="3"))
    await setting.until(lambda: len(setting.vault.objects) == 1)
    assert [len(names) for names in setting.vault.removed] == [1, 2, 1]


@pytest.mark.parametrize("lie", ["missing", "shorter", "longer"])
async def test_manifest_that_lies_of_the_newest_is_told_and_put_right(
    setting: Setting, caplog: pytest.LogCaptureFixture, lie: str
) -> None:
    digest = setting.add(key="value")
    stored = StoredFrame("snapshot-of-old", setting.frames[0].payload_length, digest)
    setting.vault.commit(Manifest(counter=7, linked=digest, frames=(stored,), owner=OWNER), "")
    if lie != "missing":
        setting.vault.objects[stored.name] = b"x" * (stored.length + (1 if lie == "longer" else -1))
    await setting.backup.begin()
    setting.backup.wake()
    await setting.until(lambda: setting.linked == digest and setting.kept.counter == 8)
    await setting.until(lambda: not setting.facts.in_progress)
    assert "it is copied again" in caplog.text
    setting.check()


# --- owners


async def test_backups_of_another_are_refused_at_the_start_and_left_alone(setting: Setting) -> None:
    await setting.backup.begin()
    await setting.arrived(setting.add(key="value"))
    before = setting.kept
    other = Setting(setting.vault, OTHER)
    with pytest.raises(StartError, match=f"the backups of another server, {OWNER}: .*echo {OWNER} > /data/dump.kvs.owner$"):
        await other.backup.begin()
    assert setting.kept == before
    other.backup.abandon()


async def test_backups_of_another_that_come_later_are_left_alone(setting: Setting) -> None:
    other = Setting(setting.vault, OTHER)
    await setting.backup.begin()
    await other.backup.begin()
    await other.arrived(other.add(key="theirs"))
    setting.add(key="ours")
    await setting.until(lambda: OTHER in setting.facts.error)
    assert setting.kept.owner == OTHER
    other.check()
    other.backup.abandon()


async def test_snapshots_of_an_engine_are_refused(setting: Setting) -> None:
    setting.vault.commit(Manifest(epoch=3), "")
    with pytest.raises(StartError, match="servers that share an engine"):
        await setting.backup.begin()


async def test_copy_of_a_directory_is_noticed(setting: Setting) -> None:
    copy = Setting(setting.vault)
    await setting.backup.begin()
    await setting.arrived(setting.add(key="value"))
    await copy.backup.begin()
    await copy.arrived(copy.add(key="another"))
    before = setting.kept
    setting.add(key="more")
    await setting.until(lambda: "had been copied" in setting.facts.error)
    assert setting.kept == before
    copy.backup.abandon()


async def test_copy_of_a_directory_is_noticed_at_a_start_too() -> None:
    kept: list[int] = []
    first = Setting()
    first.backup._written, first.backup._keep_written = 0, kept.append
    await first.backup.begin()
    await first.arrived(first.add(key="value"))
    first.backup.abandon()
    assert kept == [1]
    copy, again = Setting(first.vault), Setting(first.vault)
    copy.backup._written = again.backup._written = kept[-1]
    await copy.backup.begin()
    await copy.arrived(copy.add(key="another"))
    before = copy.kept
    await again.backup.begin()
    again.add(key="more")
    await again.until(lambda: "had been copied" in again.facts.error)
    assert copy.kept == before
    copy.backup.abandon()
    again.backup.abandon()


async def test_manifest_that_is_none_stops_the_start(setting: Setting) -> None:
    def fail() -> None:
        raise MediumError("memory://backups has a manifest that is none: it is no JSON") from ManifestInvalid("it is no JSON")

    setting.vault.faults["manifest"] = fail
    with pytest.raises(StartError, match="it is no JSON: --snapshots has to name another place"):
        await setting.backup.begin()


# --- starts and ends beside a vault that does not answer


async def test_start_goes_on_though_the_vault_fails(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    setting.vault.faults["manifest"] = failing(MediumError("no route"))
    await setting.backup.begin()
    await setting.until(lambda: setting.vault.calls.count("manifest") > 3)
    assert setting.facts.error == "no route"
    assert "copied to memory://backups again" not in caplog.text
    assert "are not copied to memory://backups, which is tried again: no route" in caplog.text
    digest = setting.add(key="value")
    del setting.vault.faults["manifest"]
    await setting.arrived(digest)


async def test_start_waits_for_a_vault_that_is_silent_no_longer_than_so_long(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_WAIT_S", 0.01)
    gate = threading.Event()
    setting.vault.faults["manifest"] = waiting_for(gate)
    await setting.backup.begin()
    assert setting.facts.error == "no answer within 0.01 s"
    digest = setting.add(key="value")
    gate.set()
    await setting.arrived(digest)


async def test_who_leaves_waits_for_the_last_snapshot(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    await setting.backup.begin()
    gate = threading.Event()
    setting.vault.faults["write"] = waiting_for(gate)
    setting.add(key="0")
    await setting.until(lambda: "write" in setting.vault.calls)
    last = setting.add(key="1")
    leaving = asyncio.create_task(setting.backup.leave())
    await setting.until(
        lambda: "copying the last snapshot to memory://backups before leaving, for at most 30 s" in caplog.text
    )
    gate.set()
    await leaving
    assert setting.linked == last
    setting.check()


async def test_who_leaves_waits_no_longer_than_so_long(
    setting: Setting, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_WAIT_S", 0.01)
    await setting.backup.begin()
    gate = threading.Event()
    setting.vault.faults["write"] = waiting_for(gate)
    setting.add(key="0")
    await setting.until(lambda: "write" in setting.vault.calls)
    await setting.backup.leave()
    assert "leaving without a copy of the last snapshot, which the next start sends" in caplog.text
    gate.set()


async def test_who_leaves_does_not_stay_for_a_vault_that_fails(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    await setting.backup.begin()
    setting.vault.faults["manifest"] = failing(MediumError("no route"))
    setting.add(key="0")
    await setting.backup.leave()
    assert "which the next start sends: no route" in caplog.text


async def test_who_leaves_with_nothing_to_send_says_nothing(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    await setting.backup.begin()
    await setting.arrived(setting.add(key="0"))
    caplog.clear()
    await setting.backup.leave()
    assert "leaving" not in caplog.text
