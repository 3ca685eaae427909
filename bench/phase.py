"""One measured phase: an open load on the server while something else happens to it.

Owns the thread in which that happens, the sampling of memory and the result. The caller gives the action (a flush, a restore,
or nothing), which is repeated until the phase is long enough for its percentiles. Must never know what the action is, nor
judge what came out.
"""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.failure import BenchFailed
from bench.flush_action import Action
from bench.load import DRAIN_S, Batch, Load, LoadFailed, LoadPlan, LoadSamples
from bench.process import ServerProcess

# To read a forked child costs processor time that the phase needs; the server's own peak needs no samples.
MEMORY_INTERVAL_S = 0.2
# A phase lasts this long after the last action: what that leaves to be tidied up belongs to it.
AFTERMATH_S = 0.5
QUICK_AFTERMATH_S = 0.05


@dataclass(frozen=True)
class PhaseResult:
    """The findings of a phase: the load's samples, and the server's memory before it and at most."""

    samples: LoadSamples
    # The time that each of the actions took.
    action_s: Sequence[float]
    memory_before_bytes: int
    memory_peak_bytes: int

    @property
    def memory_growth(self) -> float:
        return self.memory_peak_bytes / self.memory_before_bytes - 1


class MemorySampler:
    """The highest memory of the server and its children, children counted with what they do not share."""

    def __init__(self, server: ServerProcess) -> None:
        self._proc = server.proc
        self._proc.reset_peak()
        self.before_bytes = self._read_bytes()
        self._sampled_bytes = self.before_bytes
        self._over = threading.Event()
        # A thread samples: to read a big child's page tables takes milliseconds, for which the load must not wait.
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> int:
        """Stop sampling and return the peak in bytes."""
        self._over.set()
        self._thread.join()
        # The kernel's own peak misses nothing between two samples, but knows no children.
        return max(self._sampled_bytes, self._proc.peak_rss_bytes())

    def _sample(self) -> None:
        while not self._over.wait(MEMORY_INTERVAL_S):
            try:
                self._sampled_bytes = max(self._sampled_bytes, self._read_bytes())
            except (FileNotFoundError, ProcessLookupError):
                # The load sees that the server is gone, too, and says so.
                return

    def _read_bytes(self) -> int:
        return self._proc.rss_bytes() + self._proc.children_private_bytes()


class ActionThread:
    """Repeats an action for some time; its pipe is readable when that is over."""

    def __init__(self, action: Action | None, seconds: float, aftermath_s: float) -> None:
        self._action = action
        self._seconds = seconds
        self._aftermath_s = aftermath_s
        self.over_fd, self._write_fd = os.pipe()
        self._durations_s: list[float] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> list[float]:
        self._thread.join()
        os.close(self.over_fd)
        if self._error is not None:
            raise self._error
        return self._durations_s

    def _run(self) -> None:
        try:
            if self._action is None:
                time.sleep(self._seconds)
                return
            ends_at = time.perf_counter() + self._seconds
            while (started_at := time.perf_counter()) < ends_at:
                self._action()
                self._durations_s.append(time.perf_counter() - started_at)
            time.sleep(self._aftermath_s)
        except (BenchFailed, OSError) as error:
            self._error = error
        finally:
            os.close(self._write_fd)


def run_phase(
    server: ServerProcess,
    clients: int,
    rate_per_s: float,
    batches: Sequence[Batch],
    seconds: float,
    action: Action | None = None,
    aftermath_s: float = AFTERMATH_S,
    drain_s: float = DRAIN_S,
) -> PhaseResult:
    """Put an open load on the server for so many seconds, while the action is repeated (None: nothing happens).

    Behind an action it lasts `aftermath_s` longer, and then replies may take `drain_s`.

    LoadFailed if the load fails or the server answers with errors; also raised is what the action raises.
    """
    acting = ActionThread(action, seconds, aftermath_s)
    load = Load(LoadPlan(server.port, clients, batches, rate_per_s, drain_s=drain_s), acting.over_fd)
    load.connect()
    sampler = MemorySampler(server)
    try:
        acting.start()
        try:
            samples = load.run()
        finally:
            action_s = acting.finish()
    finally:
        peak_bytes = sampler.stop()
    if samples.errors:
        raise LoadFailed(f"{samples.errors} error replies, first: {samples.first_error}")
    return PhaseResult(samples, action_s, sampler.before_bytes, peak_bytes)
