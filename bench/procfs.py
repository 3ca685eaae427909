"""The figures that Linux gives of one process, its children and the machine: CPU time, memory, time that the host withheld.

Owns the reading of /proc and of the processes' clocks. Must never start, signal or wait for a process.
"""

import os
import time
from pathlib import Path

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB = 1024
# The eighth figure behind "cpu" in the first line of /proc/stat.
STEAL = 8
RESET_PEAK = "5"


class ProcessFiles:
    """The figures of one process. ProcessLookupError when it has ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._folder = Path("/proc", str(pid))

    def cpu_time_s(self) -> float:
        """User and system time (s) of all threads, ended ones too, but not of children, to the nanosecond."""
        # The clock of a process is made of its number: CPUCLOCK_SCHED of linux/posix-timers.h, as glibc's
        # clock_getcpuclockid() does it. /proc/PID/stat has the same, in steps of 10 ms.
        try:
            return time.clock_gettime((~self._pid << 3) | 2)
        except OSError as error:
            raise ProcessLookupError(f"process {self._pid} has ended") from error

    def rss_bytes(self) -> int:
        return _kib_field(self._folder / "status", "VmRSS")

    def peak_rss_bytes(self) -> int:
        return _kib_field(self._folder / "status", "VmHWM")

    def reset_peak(self) -> None:
        (self._folder / "clear_refs").write_text(RESET_PEAK)

    def children_private_bytes(self) -> int:
        """The memory that forked children hold for themselves; the pages that they share are in the parent's RSS already.

        smaps_rollup is read of children only: it walks page tables, which would disturb the server that is measured.
        """
        total = 0
        for child in self._children():
            try:
                rollup = Path("/proc", child, "smaps_rollup")
                total += _kib_field(rollup, "Private_Clean") + _kib_field(rollup, "Private_Dirty")
            except (FileNotFoundError, ProcessLookupError):
                # The child ended while we looked.
                continue
        return total

    def _children(self) -> list[str]:
        return (self._folder / "task" / str(self._pid) / "children").read_text().split()


def _kib_field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        field, _, value = line.partition(":")
        if field == name:
            return int(value.split()[0]) * KIB
    # A process that has ended keeps its files for a while, but has no memory.
    raise ProcessLookupError(f"{path} has no {name}: the process has ended")


def available_memory_bytes() -> int:
    """The memory that programs could get now without swapping (`MemAvailable`)."""
    return _kib_field(Path("/proc/meminfo"), "MemAvailable")


def stolen_time_s() -> float:
    """The CPU time (s) of all cores that the host has withheld from this machine so far (`steal` of /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as file:
        return int(file.readline().split()[STEAL]) / CLOCK_TICKS_PER_S
