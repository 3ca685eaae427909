"""The figures and rates of the server: INFO tells them, and some of the server's decisions rest on them. Pure data.

The modules that do the work keep the figures up to date; callers pass the time. A server has one object of each class. None
is a dataclass: nobody compares or prints the objects, and Python takes half a millisecond of each start to make a dataclass.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

# Redis's rate is the mean of so many samples, of which there is one each 100 ms.
SAMPLES: Final = 16


class Rate:
    """The rate by which a number that only grows has grown lately."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._last_ms = 0
        self._last_total = 0

    def sample(self, total: int, now_ms: int) -> None:
        """Note the number. The server calls this some times a second."""
        passed_ms = now_ms - self._last_ms
        # A number that is smaller than before has started again from 0.
        if self._last_ms and passed_ms > 0 and total >= self._last_total:
            self._samples.append((total - self._last_total) * 1000 / passed_ms)
        self._last_ms, self._last_total = now_ms, total

    @property
    def per_second(self) -> float:
        return sum(self._samples) / SAMPLES


# Measured: the connection, session and transport of a client that sends nothing.
CLIENT_BYTES: Final = 2900


class PersistenceFacts:
    """The figures of flushes and loads, for INFO, LASTSAVE and the save points. Times are Unix seconds, durations seconds.

    `changes_at_last_save` is the keyspace's count of changes when the data of the last good flush was cut.
    """

    def __init__(self) -> None:
        self.loading = False
        self.load_started_at = 0
        self.load_total_bytes = 0
        self.load_done_bytes = 0
        self.keys_loaded = 0
        self.flush_in_progress = False
        self.flush_started_at = 0.0
        self.flush_keys_done = 0
        self.flush_keys_total = 0
        self.compaction_in_progress = False
        self.compactions = 0
        self.saves = 0
        self.last_save_at = 0
        self.last_save_duration_s = -1
        self.last_save_ok = True
        self.last_save_error = ""
        self.changes_at_last_save = 0
        self.medium_bytes = 0
        self.medium_frames = 0
        self.medium_poisoned = ""


class BackupFacts:
    """The figures of the copies of snapshots in another place, for INFO. Times are Unix seconds.

    - `url` names that place, without a password. Empty: there is none.
    - `in_progress`: a snapshot is on its way there.
    - `error` is the reason why the newest snapshot is not there, if the last try failed; else empty.
    - `last_at` is the time at which the last one had arrived, or 0.
    - `waiting_since` is the time since which a newer one than is there has been on the disk; 0: the newest one is there.
    """

    def __init__(self) -> None:
        self.url = ""
        self.in_progress = False
        self.error = ""
        self.last_at = 0
        self.waiting_since = 0.0


class JournalFacts:
    """The figures of the journal for INFO. Times are Unix seconds, durations seconds.

    - `error` is the reason why nothing can be recorded, or empty. It also decides if writes run.
    - `base_bytes` is the size of the snapshot that the segments go on from, `segment_bytes` that of the segments together.
    - `queued_bytes` wait for the disk, `writing_bytes` are being written.
    - `delayed_writes` counts the times at which the writer had to wait for the disk, `delayed_syncs` the syncs that were not
      done when the next one was due.
    - `records_replayed` counts the records of the start, `rewrites_failed` the failures in a row.
    """

    def __init__(self) -> None:
        self.enabled = False
        self.error = ""
        self.base_bytes = 0
        self.segment_bytes = 0
        self.segments = 0
        self.queued_bytes = 0
        self.writing_bytes = 0
        self.delayed_writes = 0
        self.delayed_syncs = 0
        self.syncs = 0
        self.records_replayed = 0
        self.rewrite_in_progress = False
        self.rewrite_scheduled = False
        self.rewrite_started_at = 0.0
        self.last_rewrite_duration_s = -1
        self.last_rewrite_ok = True
        self.rewrites = 0
        self.rewrites_failed = 0


class HistoryFacts:
    """The figures of the history for INFO.

    `frames`, `segments` and `bytes` are of what is older than the last snapshot; `begins_at_ms` is the time (Unix
    milliseconds) of the oldest frame, or 0. `error` is the reason why something could not be kept, or empty.
    """

    def __init__(self) -> None:
        self.enabled = False
        self.frames = 0
        self.segments = 0
        self.bytes = 0
        self.begins_at_ms = 0
        self.error = ""


class Counters:
    """The counters of INFO stats, since the start or CONFIG RESETSTAT."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from zero again. The object stays the same, since other modules hold it."""
        self.connections_received = 0
        self.connections_rejected = 0
        self.commands_processed = 0
        self.input_bytes = 0
        self.output_bytes = 0


class Rates:
    """The rates by which some of the counters grow per second."""

    def __init__(self) -> None:
        self.commands = Rate()
        self.input_bytes = Rate()
        self.output_bytes = Rate()

    def sample(self, counters: Counters, now_ms: int) -> None:
        """Note the counters. The server calls this some times a second, with Unix milliseconds."""
        self.commands.sample(counters.commands_processed, now_ms)
        self.input_bytes.sample(counters.input_bytes, now_ms)
        self.output_bytes.sample(counters.output_bytes, now_ms)

    @property
    def are_nil(self) -> bool:
        """True if nothing has come or gone lately."""
        return not (self.commands.per_second or self.input_bytes.per_second or self.output_bytes.per_second)


class Buffers(NamedTuple):
    """The sizes in bytes of the things that a connection holds, counted when somebody asks.

    - `query_bytes` were sent by the client and have not run; `query_free_bytes` is room for more.
    - `argument_bytes` belong to a command that has not come to its end.
    - `reply_bytes` have not been taken by the system, since the client doesn't read.
    """

    query_bytes: int = 0
    query_free_bytes: int = 0
    argument_bytes: int = 0
    reply_bytes: int = 0
    total_bytes: int = CLIENT_BYTES


class ProcessFacts(NamedTuple):
    """The facts that only the operating system knows, read when INFO asks. CPU time in seconds, memory in bytes.

    `thread_user_s` and `thread_system_s` are the event loop's part of the CPU time. `build` is `compiled` if the modules that
    run commands are, else `interpreted`; `leaves` is `compiled` if the leaves are those in C, else `pure`.
    """

    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    thread_user_s: float = 0.0
    thread_system_s: float = 0.0
    rss_bytes: int = 0
    peak_rss_bytes: int = 0
    total_memory_bytes: int = 0
    process_id: int = 0
    system: str = ""
    python: str = ""
    build: str = ""
    leaves: str = ""
    event_loop: str = ""
    executable: str = ""
