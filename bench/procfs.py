"""What Linux's /proc says of one process and its children: CPU time and memory.

Owns the reading of these files. Must never start, signal or wait for a process.
"""

import os
from pathlib import Path

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB = 1024
# Positions in /proc/PID/stat counted behind the command name, which is in brackets and may hold spaces.
UTIME, STIME, CUTIME, CSTIME = 11, 12, 13, 14
RESET_PEAK = "5"


class ProcessFiles:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._folder = Path("/proc", str(pid))

    def cpu_time_s(self, with_children: bool = False) -> float:
        """User and system time of all threads; of children too where asked, which counts those already waited for."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        wanted = (UTIME, STIME, CUTIME, CSTIME) if with_children else (UTIME, STIME)
        return sum(int(fields[position]) for position in wanted) / CLOCK_TICKS_PER_S

    def rss_bytes(self) -> int:
        return _kib_field(self._folder / "status", "VmRSS")

    def peak_rss_bytes(self) -> int:
        return _kib_field(self._folder / "status", "VmHWM")

    def reset_peak(self) -> None:
        (self._folder / "clear_refs").write_text(RESET_PEAK)

    def children_private_bytes(self) -> int:
        """What forked children hold for themselves; the pages that they share are in the parent's RSS already.

        smaps_rollup is read of children only: it walks page tables, which would disturb the server that is measured.
        """
        total = 0
        for child in self._children():
            try:
                rollup = Path("/proc", child, "smaps_rollup")
                total += _kib_field(rollup, "Private_Clean") + _kib_field(rollup, "Private_Dirty")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
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
