"""The machine that the server runs on: facts of this process, its open files, the time of day, a progress line.

Facts are read from Linux's /proc, or by `resource` where there is none. The server passes `now_ms` and `now_us` as clocks to
the modules that must not read a clock themselves.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from random import random

from kvserver._speedups.choice import IS_COMPILED
from kvserver.data import keyspace
from kvserver.state.statistics import ProcessFacts

# macOS allows a process so many open files, whatever its hard limit says.
MACOS_OPEN_MAX = 10240


def read_process_facts(event_loop: str) -> ProcessFacts:
    """The facts of this process and of the machine. `event_loop` is the name of the event loop's module."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # Only Linux has RUSAGE_THREAD.
    thread = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    system = os.uname()
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ProcessFacts(
        cpu_user_s=usage.ru_utime,
        cpu_system_s=usage.ru_stime,
        thread_user_s=thread.ru_utime,
        thread_system_s=thread.ru_stime,
        rss_bytes=_rss_bytes() or peak,
        peak_rss_bytes=peak,
        total_memory_bytes=_total_memory_bytes(),
        process_id=os.getpid(),
        system=f"{system.sysname} {system.release} {system.machine}",
        python=sys.version.partition(" ")[0],
        build="interpreted" if keyspace.__file__.endswith(".py") else "compiled",
        leaves="compiled" if IS_COMPILED else "pure",
        event_loop=event_loop,
        executable=sys.executable,
    )


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit of open files to `wanted`, or as near as the system allows. Returns the limit then.

    A higher limit stays as it is. `wanted` is returned where there is no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted if soft == unlimited else soft
    for most in (wanted, hard if hard != unlimited and hard < wanted else wanted, min(wanted, MACOS_OPEN_MAX)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard if hard == unlimited else max(hard, most)))
        except (OSError, ValueError):
            continue
        return most
    return soft


def open_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed. The program calls this before it opens anything.

    Otherwise a file or a socket would get the number, and the text for standard error would go there.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The system gives the lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def _total_memory_bytes() -> int:
    """The memory of the machine, or 0 where nobody tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def random_below(bound: int) -> int:
    """A random whole number from 0 to one below the bound, each with the same chance, as far as doubles tell them apart.

    Measured: half of what `random.randrange` takes.
    """
    return int(random() * bound)


def now_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1_000


class Progress:
    """A line on the terminal that shows which part of `total()` is done. Use it in a `with` statement.

    The line is written a few times a second on standard error, and removed at the end. Without a terminal nothing is written.
    """

    def __init__(self, what: str, total: Callable[[], int]) -> None:
        self._what = what
        self._total = total
        # The interval begins now, so that work that takes less than it shows nothing.
        self._shown_at = time.monotonic()
        self._is_shown = False
        self._terminal = sys.stderr if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def update(self, done: int) -> None:
        """Show that so much is done, if the line is due."""
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
