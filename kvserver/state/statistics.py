"""Figures and rates of the server: INFO tells them, and some of the server's decisions rest on them. Pure data.

Those who work elsewhere keep the figures up to date; the clock is passed in. There is one object of each class. None is a
dataclass: nobody compares or shows them, and making a dataclass takes half a millisecond of every start.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

SAMPLES: Final = 16  # as in Redis: the mean of these, one for each 100 ms


class Rate:
    """What a number that only grows has grown by lately."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._last_ms = 0
        self._last_total = 0

    def sample(self, total: int, now_ms: int) -> None:
        """Note the number; some times a second."""
        passed_ms = now_ms - self._last_ms
        # Less than before: it has started again from nothing.
        if self._last_ms and passed_ms > 0 and total >= self._last_total:
            self._samples.append((total - self._last_total) * 1000 / passed_ms)
        self._last_ms, self._last_total = now_ms, total

    @property
    def per_second(self) -> float:
        return sum(self._samples) / SAMPLES


CLIENT_BYTES: Final = 2900  # what a client that sends nothing takes: its connection, session and transport, measured


class PersistenceFacts:
    """What INFO, LASTSAVE and the save points know about flushes and loads. Times are Unix seconds, durations seconds."""

    loading: bool = False
    load_started_at: int = 0
    load_total_bytes: int = 0
    load_done_bytes: int = 0
    keys_loaded: int = 0
    flush_in_progress: bool = False
    flush_started_at: float = 0.0
    flush_keys_done: int = 0
    flush_keys_total: int = 0
    compaction_in_progress: bool = False
    compactions: int = 0
    saves: int = 0
    last_save_at: int = 0
    last_save_duration_s: int = -1
    last_save_ok: bool = True
    last_save_error: str = ""
    changes_at_last_save: int = 0  # what the keyspace's count of changes was at the cut of the last good flush
    medium_bytes: int = 0
    medium_frames: int = 0
    medium_poisoned: str = ""


class JournalFacts:
    """What INFO knows of the journal; `error` also decides whether writes run. Sizes in bytes, times in seconds."""

    enabled: bool = False
    error: str = ""  # why nothing can be recorded, or empty
    base_bytes: int = 0  # of the snapshot that the segments go on from
    segment_bytes: int = 0  # of the segments behind it
    segments: int = 0
    queued_bytes: int = 0  # that wait for the disk
    writing_bytes: int = 0  # that it is busy with
    delayed_writes: int = 0  # how often the writer had to wait for the disk
    delayed_syncs: int = 0  # that took longer than the next one's time
    syncs: int = 0
    records_replayed: int = 0  # at the start
    rewrite_in_progress: bool = False
    rewrite_scheduled: bool = False
    rewrite_started_at: float = 0.0
    last_rewrite_duration_s: int = -1
    last_rewrite_ok: bool = True
    rewrites: int = 0
    rewrites_failed: int = 0  # in a row


class Counters:
    """What INFO stats counts since the start, or since CONFIG RESETSTAT."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from zero again. In place: others hold this, too."""
        self.connections_received = 0
        self.connections_rejected = 0
        self.commands_processed = 0
        self.input_bytes = 0
        self.output_bytes = 0


class Rates:
    """What some counters grow by per second."""

    def __init__(self) -> None:
        self.commands = Rate()
        self.input_bytes = Rate()
        self.output_bytes = Rate()

    def sample(self, counters: Counters, now_ms: int) -> None:
        """To be called some times a second."""
        self.commands.sample(counters.commands_processed, now_ms)
        self.input_bytes.sample(counters.input_bytes, now_ms)
        self.output_bytes.sample(counters.output_bytes, now_ms)

    @property
    def are_nil(self) -> bool:
        """Whether nothing has come or gone lately."""
        return not (self.commands.per_second or self.input_bytes.per_second or self.output_bytes.per_second)


class Buffers(NamedTuple):
    """What a connection holds, counted when somebody asks. In bytes."""

    query_bytes: int = 0  # that the client sent and that have not run
    query_free_bytes: int = 0  # room for more of them
    argument_bytes: int = 0  # of the command that has not come to its end
    reply_bytes: int = 0  # that the system has not taken yet, since the client does not read
    total_bytes: int = CLIENT_BYTES


class ProcessFacts(NamedTuple):
    """What only the operating system knows; read when INFO asks. CPU in seconds, memory in bytes."""

    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    thread_user_s: float = 0.0  # of these, what the event loop's thread has used
    thread_system_s: float = 0.0
    rss_bytes: int = 0
    peak_rss_bytes: int = 0
    total_memory_bytes: int = 0
    process_id: int = 0
    system: str = ""
    python: str = ""
    build: str = ""  # whether the modules on the way of a command are `compiled` or `interpreted`
    event_loop: str = ""
    executable: str = ""
