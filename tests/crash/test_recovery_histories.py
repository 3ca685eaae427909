"""Random histories of what servers write and people do to the files: every start's state is one that the data really had.

A model follows what each frame and each record means: which frame a journal is linked to, what is read of either once bytes
are flipped, cut off, or files are put back. The state of a start has to be the newest one that the files still prove: the
linked frame and the records behind it, up to the first damage; where that frame is nowhere, the last frame that is believed.
No process, no real disk: the recovery of the library, which is the server's, on a disk in memory.
"""

from __future__ import annotations

import logging
import os
import random
import re
from collections import Counter

import pytest

from helpers.frames import as_older
from helpers.servers import IS_COMPILED
from helpers.sessions import Server
from helpers.simulated_disk import ROOT, SimulatedDisk
from kvserver import KVStore, ServerFolder
from kvserver.errors import MediumDisplaced
from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_loss, encode_records, pack
from kvserver.media.segments import FileLog, Segments

HISTORIES = int(os.environ.get("KVSERVER_RECOVERY_HISTORIES", "500" if IS_COMPILED else "2000"))
FIRST = int(os.environ.get("KVSERVER_RECOVERY_HISTORIES_SEED", "0"))
# The histories are split into so many tests, so that all cores have some.
PARTS = 4
FOLDER = f"{ROOT}/data"
MEDIUM = f"{FOLDER}/dump.kvs"

TABLE = Server().table
State = dict[str, str]


class Frame:
    """A frame as it was written, and the state that it holds."""

    def __init__(self, content: bytes, state: State) -> None:
        self.content = content
        self.state = state
        self.digest = content[16:HEADER_SIZE].decode()


class Model:
    """Everything that was ever written, by its bytes; it tells the state that a start has to make of the files."""

    def __init__(self) -> None:
        self.frames: dict[bytes, Frame] = {}
        # Each record is the key and the value of a SET.
        self.records: dict[bytes, tuple[str, str]] = {}
        self.links: dict[bytes, str] = {}
        # Where a start has cut something off.
        self.losses: set[bytes] = set()

    def expected(self, medium: bytes, segments: dict[int, bytes]) -> tuple[State, bool]:
        """The state of a start, and whether the segments are put aside."""
        journal = {number: self._read_segment(content) for number, content in sorted(segments.items())}
        links = {digest for items, _ in journal.values() for digest in items if isinstance(digest, str)}
        believed = self._believed(medium, links)
        linked = [number for number, (items, _) in journal.items() if any(isinstance(item, str) for item in items)]
        if not linked:
            return (dict(believed[-1].state) if believed else {}), False
        first = linked[-1]
        digest = [item for item in journal[first][0] if isinstance(item, str)][-1]
        base = next((frame for frame in reversed(believed) if frame.digest == digest), None)
        if base is None and digest != EMPTY_STORE:
            return (dict(believed[-1].state) if believed else {}), True
        state = dict(base.state) if base else {}
        number = first
        while number in journal:
            items, is_whole = journal[number]
            # What stands before the link in its segment was written between the cut and the link: it is newer than the frame.
            for item in items:
                if isinstance(item, tuple):
                    state[item[0]] = item[1]
            if not is_whole:
                break
            number += 1
        return state, False

    def _read_segment(self, content: bytes) -> tuple[list[str | tuple[str, str]], bool]:
        """Links and SETs up to the first byte that is not as it was written, and whether that is the end."""
        items: list[str | tuple[str, str]] = []
        while content:
            known = next((frame for frame in (*self.records, *self.links, *self.losses) if content.startswith(frame)), None)
            if known is None:
                return items, False
            if known not in self.losses:
                items.append(self.records[known] if known in self.records else self.links[known])
            content = content[len(known) :]
        return items, True

    def _believed(self, medium: bytes, links: set[str]) -> list[Frame]:
        """The frames that a start believes, header to header, the rule of the scan written down once more."""
        believed: list[Frame] = []
        run: list[Frame] = []
        is_certain = True
        position = 0
        while position < len(medium):
            frame = next((known for content, known in self.frames.items() if medium.startswith(content, position)), None)
            if frame:
                position += len(frame.content)
                run.append(frame)
                if is_certain or frame.digest in links or position == len(medium):
                    believed += run
                    run, is_certain = [], True
                continue
            match = re.fullmatch(rb"KVS1([0-9]{12})[0-9a-f]{64}", medium[position : position + HEADER_SIZE])
            if not match or position + HEADER_SIZE + int(match[1]) > len(medium):
                break
            position += HEADER_SIZE + int(match[1])
            run, is_certain = [], False
        return believed


class History:
    """One folder, and what becomes of it."""

    def __init__(self, seed: int, counts: Counter[str]) -> None:
        self.rng = random.Random(seed)
        self.counts = counts
        self.disk = SimulatedDisk(random.Random(seed))
        self.disk.evicts_at_close = False
        self.model = Model()
        self.written = self.moved = self.number = 0
        self.backups: list[bytes] = []
        # All states that the data ever had.
        self.states: list[State] = [{}]

    def files(self) -> tuple[bytes, dict[int, bytes]]:
        medium = self.disk.content(MEDIUM) if MEDIUM in self.disk.names() else b""
        segments = Segments(MEDIUM, self.disk)
        return medium, {number: self.disk.content(segments.path(number)) for number in segments.numbers()}

    def live(self) -> None:
        """A life: a start, whose state must be right, then writes, and flushes as a server makes them, then a kill."""
        before = self.files()
        expected, is_aside = self.model.expected(*before)
        assert expected in self.states
        names = set(self.disk.names())
        folder = ServerFolder(FOLDER, filesystem=self.disk)
        store = KVStore(folder)
        found = {key.decode(): bytes(value).decode() for key, value in folder.databases[0].members() if type(value) is bytes}
        assert found == expected, f"{found} instead of {expected}"
        unlinked = {name for name in set(self.disk.names()) - names if ".unlinked" in name}
        assert len(unlinked) == (sum(map(bool, before[1].values())) if is_aside else 0)
        self.counts["put aside"] += is_aside
        self.state = dict(found)
        # It is True if the journal failed and no snapshot was linked since: no client was told of the writes that it lacks.
        self.ended_unhealed = False
        medium, segments = self.files()
        self.learn_losses(before[1], segments)
        again, _ = self.model.expected(medium, segments)
        assert again == expected, "what a start leaves gives the same state to the next one"
        # This is a life of the library: a frame takes the journal's place.
        if self.rng.random() < 0.3:
            self.set(store)
            if self.rng.random() < 0.2:
                self.disturb(MEDIUM)
            store.shutdown()
            self.learn_frames()
            self.counts["library"] += 1
        else:
            self.serve(folder)
        folder.close()
        if not self.ended_unhealed:
            assert self.model.expected(*self.files())[0] == self.state, "what was acknowledged is not in the files"
        if self.rng.random() < 0.5:
            self.backups.append(self.files()[0])

    def set(self, store: KVStore | None) -> tuple[str, str]:
        self.written += 1
        key, value = self.rng.choice("abc"), str(self.written)
        if store is not None:
            store.set(key, value)
        self.state[key] = value
        self.states.append(dict(self.state))
        return key, value

    def serve(self, folder: ServerFolder) -> None:
        """Write the journal as a server does: records, and now and then a snapshot that the next segment is linked to."""
        log = FileLog(MEDIUM, self.disk)
        numbers = Segments(MEDIUM, self.disk).numbers()
        self.number = folder._place.log.last_number + 1
        log.adopt(numbers, 0, self.number - 1)
        log.cut(self.number)
        if not numbers:
            self.link(log, folder.frames.linked or EMPTY_STORE)
        for _ in range(self.rng.randrange(4)):
            if self.rng.random() < 0.1:
                self.disturb(Segments(MEDIUM, self.disk).path(self.number))
            try:
                self.record(folder, log)
                if self.rng.random() < 0.3 and not self.flush(folder, log):
                    break
            # No write is taken until a flush heals the journal.
            except MediumDisplaced:
                self.counts["segment displaced"] += 1
                if not self.flush(folder, log, heals=True):
                    break
        log.close()
        self.counts["server"] += 1

    def flush(self, folder: ServerFolder, log: FileLog, *, heals: bool = False) -> bool:
        """A snapshot as a server makes it; False where the server ends between it and its link."""
        self.number += 1
        log.cut(self.number, heals=heals)
        if self.rng.random() < 0.2:
            self.disturb(MEDIUM)
        frame = folder.add_frame()
        self.learn_frames()
        if self.rng.random() < 0.2:
            self.counts["no link"] += 1
            self.ended_unhealed = heals
            return False
        self.link(log, frame.digest)
        folder.frames.linked = frame.digest
        return True

    def record(self, folder: ServerFolder, log: FileLog) -> None:
        key, value = self.set(None)
        folder.databases[0].set(key.encode(), value.encode())
        times_ms = [self.number] if self.rng.random() < 0.9 else []
        frame = encode_records([pack([[b"SET", key.encode(), value.encode()]])], times_ms)
        if self.rng.random() < 0.2:
            frame = as_older(frame)
            self.counts["an older layout"] += 1
        self.model.records[frame] = (key, value)
        log.write(frame, synced=True)

    def link(self, log: FileLog, digest: str) -> None:
        frame = encode_link(digest)
        self.model.links[frame] = digest
        log.link(frame)

    def learn_losses(self, before: dict[int, bytes], segments: dict[int, bytes]) -> None:
        """Take notice of the loss that the start has left, where it has cut off something."""
        for number, content in segments.items():
            match = re.search(rb"KVJ1[0-9]{12}[0-9a-f]{64}#MS:([0-9]+)\r\n\*1\r\n\$13\r\nKVSERVER\.LOSS\r\n\Z", content)
            if match and not before[number].startswith(content):
                assert match[0] == encode_loss(int(match[1]))
                assert before[number].startswith(content[: match.start()])
                self.model.losses.add(match[0])
                self.counts["loss"] += 1

    def learn_frames(self) -> None:
        """Take notice of the new frames: the last one in the medium is that of the present state."""
        medium = self.files()[0]
        position = 0
        while position < len(medium):
            end = position + HEADER_SIZE + int(medium[position + 4 : position + 16])
            content = medium[position:end]
            if content not in self.model.frames:
                self.model.frames[content] = Frame(content, dict(self.state))
            position = end

    # What people and disks do

    def disturb(self, path: str) -> None:
        """Move, remove, replace or cut a file in use, as people do."""
        if path not in self.disk.names():
            return
        what = self.rng.choice(("move", "remove", "replace", "cut"))
        match what:
            case "move":
                self.moved += 1
                self.disk.rename(path, f"{path}.moved-{self.moved}")
            case "remove":
                self.disk.remove(path)
            case "replace":
                self.disk.put(path, self.rng.choice([b"", b"of somebody else", *self.backups]))
            case "cut":
                self.disk.cut(path, self.rng.randrange(len(self.disk.content(path)) + 1))
        self.counts[f"{what} while in use"] += 1

    def suffer(self) -> None:
        medium = self.files()[0]
        paths = [path for path in self.disk.names() if path.startswith(FOLDER) and self.disk.content(path)]
        journals = [path for path in paths if path.endswith(".journal")]
        match self.rng.choice(("flip", "flip medium", "cut", "backup", "newest backup", "remove journal", "remove medium")):
            case "flip" if paths:
                self.flip(self.rng.choice(paths))
            case "flip medium" if medium:
                self.flip(MEDIUM)
            case "cut" if paths:
                path = self.rng.choice(paths)
                content = self.disk.content(path)
                self.put(path, content[: self.rng.randrange(len(content))], "cut")
            case "backup" if self.backups:
                self.put(MEDIUM, self.rng.choice(self.backups), "backup put back")
            case "newest backup" if self.backups:
                self.put(MEDIUM, self.backups[-1], "newest backup put back")
            case "remove journal" if journals:
                self.disk.remove(self.rng.choice(journals))
                self.counts["journal removed"] += 1
            case "remove medium" if medium:
                self.disk.remove(MEDIUM)
                self.counts["medium removed"] += 1

    def flip(self, path: str) -> None:
        content = bytearray(self.disk.content(path))
        at = self.rng.randrange(len(content))
        content[at] ^= 1 << self.rng.randrange(8)
        self.put(path, bytes(content), "flipped")

    def put(self, path: str, content: bytes, what: str) -> None:
        self.disk.put(path, content)
        self.counts[what] += 1


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of starts: making a thousand shards and the table is most of the time of each, and each logs."""
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 3)
    monkeypatch.setattr("kvserver.library.folder.CommandTable", lambda commands, usages: TABLE)
    caplog.set_level(logging.CRITICAL + 1, "kvserver")


@pytest.mark.parametrize("part", range(PARTS))
def test_every_start_has_the_newest_state_that_the_files_prove(part: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(FIRST + part, FIRST + HISTORIES, PARTS):
        history = History(seed, counts)
        try:
            for _ in range(4):
                history.live()
                for _ in range(history.rng.choice((0, 1, 1, 2))):
                    history.suffer()
            history.live()
        except BaseException as error:
            raise AssertionError(f"KVSERVER_RECOVERY_HISTORIES_SEED={seed} KVSERVER_RECOVERY_HISTORIES=1") from error
    print(dict(counts))
    if HISTORIES >= 5000:
        wanted = ["put aside", "loss", "library", "server", "no link", "flipped", "cut", "backup put back", "journal removed"]
        wanted += ["segment displaced", *(f"{what} while in use" for what in ("move", "remove", "replace", "cut"))]
        assert min(counts[what] for what in wanted) > 100, counts
