"""The speed at which an RDB file is read and written: by kvserver's own reader and writer, and by redis-server.

Owns these two measurements. The files are redis-server's own. It reads one when it starts, which takes some milliseconds
without any data, and writes one by SAVE. kvserver reads the same file from the disk into databases, in this process, and
writes all of them from a cut, with a sync at the end as SAVE has. No server and no client is beside it.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import kvserver.types as types_of_data
from bench.control import Control
from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.figures import Case, Measurement, Metric
from bench.kinds import REDIS, SUBJECT, ServerKind
from bench.members import TYPES, Collections
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.formats.rdb_file import RDBEntry, RDBReader
from kvserver.formats.rdb_writer import encode_rdb, fields_of_redis

MB = 1_000_000
TIME, CPU, SPEED, FILE = "time", "CPU", "file per s", "file"
METRICS = (
    Metric(TIME, "s", 3),
    Metric(CPU, "s", 3),
    Metric(SPEED, "MB/s", 1, more_is_better=True, is_compared=False),
    Metric(FILE, "MB", 1, is_compared=False),
)
READ_BYTES = 1 << 16
# What reads values finds their kinds where these are imported.
assert types_of_data


class ReadWrong(BenchFailed):
    """Other keys were read than are in the file."""


@dataclass
class Ours:
    """kvserver's reader and writer, with a file of redis-server."""

    path: Path
    keys: int
    databases: Databases = field(default_factory=lambda: Databases(lambda: 0))

    def read(self) -> None:
        self.databases = Databases(lambda: 0)
        reader = RDBReader()
        with self.path.open("rb") as file:
            while data := file.read(READ_BYTES):
                for item in reader.feed(data):
                    if isinstance(item, RDBEntry):
                        value, expires_at_ms = item.value, item.expires_at_ms
                        entry = value if expires_at_ms is None else Expiring(value, expires_at_ms)
                        self.databases[item.database].set(item.key, entry)
        reader.end()
        if self.databases.key_count != self.keys:
            raise ReadWrong(f"the file has {self.keys} keys, but {self.databases.key_count} were read")

    def write(self) -> None:
        if not self.databases.key_count:
            self.read()
        frozen = self.databases.cut()
        with self.path.with_name("written.rdb").open("wb") as file:
            for piece in encode_rdb(frozen.cuts, frozen.libraries, fields_of_redis("7.0.15", 0, 0)):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        for _ in frozen.fold():
            pass

    def timed(self, call: Callable[[], None]) -> Measurement:
        # As all programs of kvserver that read and write such files: the garbage collector would look at what is loaded.
        gc.disable()
        started_at, before_s = time.perf_counter(), time.process_time()
        try:
            call()
            return figures(self.path, time.perf_counter() - started_at, time.process_time() - before_s)
        finally:
            gc.enable()


def figures(path: Path, time_s: float, cpu_s: float) -> Measurement:
    file_mb = path.stat().st_size / MB
    return Measurement({TIME: time_s, CPU: cpu_s, SPEED: file_mb / time_s, FILE: file_mb})


def read(subject: Ours | ServerProcess) -> Measurement:
    if isinstance(subject, Ours):
        return subject.timed(subject.read)
    subject.restart()
    return figures(subject.data_folder / "dump.rdb", subject.startup_s, subject.proc.cpu_time_s())


def write(subject: Ours | ServerProcess) -> Measurement:
    if isinstance(subject, Ours):
        return subject.timed(subject.write)
    with subject.control() as control:
        before_s, started_at = subject.proc.cpu_time_s(), time.perf_counter()
        control.call("SAVE")
        duration_s = time.perf_counter() - started_at
    return figures(subject.data_folder / "dump.rdb", duration_s, subject.proc.cpu_time_s() - before_s)


def measure_files(run: Run) -> Iterator[Case]:
    fills: dict[str, Callable[[Control], None]] = {}
    strings = Dataset(run.pick(500_000, 5_000))
    fills[f"{strings.keys} strings of 64 bytes"] = strings.fill
    for kind in TYPES:
        for keys, members in run.pick(((50_000, 10), (5, 100_000)), ((200, 10), (2, 300))):
            some = Collections(kind, keys, members)
            fills[some.name] = some.fill
    for name, fill in fills.items():
        yield from measure_file(run, name, fill)


def measure_file(run: Run, name: str, fill: Callable[[Control], None]) -> Iterator[Case]:
    with ServerProcess(REDIS, parent=run.folder) as server:
        with server.control() as control:
            fill(control)
            control.call("SAVE")
            keys = control.call("DBSIZE")
        assert isinstance(keys, int)
        ours = Ours(server.data_folder / "dump.rdb", keys)
        both: Mapping[ServerKind, Ours | ServerProcess] = {SUBJECT: ours, REDIS: server}
        subjects = {kind: subject for kind, subject in both.items() if kind in run.kinds}
        yield run.measure(Case(f"read {name}", METRICS), run.rounds(3), subjects, read)
        yield run.measure(Case(f"write {name}", METRICS), run.rounds(3), subjects, write)


SCENARIO = Scenario("rdb_file", "time to read and to write an RDB file of strings and of collections", measure_files)
