"""What the machine tells, and what is told to its terminal: the time of day, this process, its open files, a progress line.

The time is given as whole numbers, to be passed in as a clock to those who must not look at one themselves. The process is
read from Linux's /proc where there is one, and by `resource` elsewhere.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

from kvserver.data import keyspace
from kvserver.state.statistics import ProcessFacts


def read_process_facts(event_loop: str) -> ProcessFacts:
    """CPU time in seconds, memory in bytes, and what the machine is."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    thread = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))  # Linux alone has it
    system = os.uname()
    # Kilobytes on Linux, bytes on macOS.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ProcessFacts(
        cpu_user_s=usage.ru_utime,
        cpu_system_s=usage.ru_stime,
        thread_user_s=thread.ru_utime,
        thread_system_s=thread.ru_stime,
        rss_bytes=_rss_bytes() or peak,
        peak_rss_bytes=peak,
        total_memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        process_id=os.getpid(),
        system=f"{system.sysname} {system.release} {system.machine}",
        python=sys.version.partition(" ")[0],
        build="interpreted" if keyspace.__file__.endswith(".py") else "compiled",
        event_loop=event_loop,
        executable=sys.executable,
    )


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit of open files to `wanted`, if it is lower, or as near as the system lets it; what it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted if soft == unlimited else soft
    for most in (wanted, hard if hard != unlimited and hard < wanted else wanted):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard if hard == unlimited else max(hard, most)))
        except (OSError, ValueError):
            continue
        return most
    return soft


def open_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed. To be called before anything else is opened.

    Else a file or a socket would get the number, and whatever is written to standard error would go there.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def now_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1_000


class Progress:
    """Shows how much of `total()` is done, a few times a second. Use in a `with` statement."""

    def __init__(self, what: str, total: Callable[[], int]) -> None:
        self._what = what
        self._total = total
        self._shown_at = time.monotonic()  # so that work that takes less than the interval shows nothing
        self._is_shown = False
        self._terminal = sys.stderr if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def update(self, done: int) -> None:
        if self._terminal and time.monotonic() - self._shown_at > 0.2:
            self._shown_at, self._is_shown = time.monotonic(), True
            total = self._total()
            percent = 100 * done // total if total else 100
            self._terminal.write(f"\r\033[K{self._what}: {percent} %")
            self._terminal.flush()

    def __exit__(self, *exception: object) -> None:
        if self._terminal and self._is_shown:
            self._terminal.write("\r\033[K")
            self._terminal.flush()
