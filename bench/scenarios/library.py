"""The library's calls beside those of diskcache and sqlitedict: time a call, memory a key, size of the files.

Owns the choice of what is compared with what: a write only with one that is as safe, or less safe where that is what people
use. Reads are the same however safe writes are. All stores hold the same keys and values.
"""

import contextlib
from collections.abc import Iterator, Sequence

from bench.figures import Case, Goal, Measurement, Metric
from bench.libraries import (
    ALWAYS,
    DISKCACHE,
    DISKCACHE_FULL,
    EVERYSEC,
    IN_MEMORY,
    SQLITEDICT,
    SQLITEDICT_AUTOCOMMIT,
    Library,
)
from bench.library_process import LibraryProcess
from bench.scenario import Run, Scenario

CALL, PER_KEY, FILES, FILL = "time a call", "bytes per key", "files", "fill a key"
METRICS = (Metric(CALL, "µs", 2),)
STORE_METRICS = (Metric(PER_KEY, "", 0), Metric(FILES, "bytes per key", 0), Metric(FILL, "µs", 2))
US = 1_000_000
THREADS = (1, 4)
# What is read: the values of the stores.
VALUES = {"document": "a JSON document of 80 B", "text": "a string of 100 B"}
# The writes outlive the process, but for those of the first one and for the last ones of sqlitedict without autocommit.
KILL_SAFE = (IN_MEMORY, EVERYSEC, DISKCACHE, SQLITEDICT, SQLITEDICT_AUTOCOMMIT)
# The writes outlive power loss.
POWER_SAFE = (ALWAYS, DISKCACHE_FULL)
MEMOIZING = (IN_MEMORY, EVERYSEC, DISKCACHE)


def measure_library(run: Run) -> Iterator[Case]:
    keys = run.pick(1_000_000, 1_000)
    for value in run.pick(tuple(VALUES), ("text",)):
        what = VALUES[value]
        with _stores(run, (*KILL_SAFE, ALWAYS, DISKCACHE_FULL), keys, value) as stores:
            yield from _measure_calls(run, stores, value, f"{keys} keys, {what}")
            yield _measure_sizes(run, stores, keys, f"{keys} keys, {what}")


@contextlib.contextmanager
def _stores(run: Run, libraries: Sequence[Library], keys: int, value: str) -> Iterator[dict[Library, LibraryProcess]]:
    with contextlib.ExitStack() as stack:
        found = {}
        for library in libraries:
            if library.is_installed:
                run.progress.show(f"fill {library}")
                found[library] = stack.enter_context(LibraryProcess(library, keys, value, run.folder))
            else:
                run.note(f"{library.module} is not installed")
        run.progress.clear()
        yield found


def _measure_calls(run: Run, stores: dict[Library, LibraryProcess], value: str, title: str) -> Iterator[Case]:
    reads, writes, synced = run.pick((20_000, 4_000, 500), (400, 200, 40))
    cases: list[tuple[str, Sequence[Library], int, str]] = [
        ("get", KILL_SAFE, reads, ""),
        ("set", KILL_SAFE, writes, ", not synced"),
        ("set", POWER_SAFE, synced, ", synced"),
        ("iteration", KILL_SAFE, 0, ""),
        ("memoize hit", MEMOIZING, reads, ""),
    ]
    if value == "text":
        cases += [("incr", KILL_SAFE, writes, ", not synced"), ("incr", POWER_SAFE, synced, ", synced")]
    for call, libraries, calls, safety in cases:
        for threads in THREADS:

            def take(store: LibraryProcess, call: str = call, threads: int = threads, calls: int = calls) -> Measurement:
                return Measurement({CALL: US * store.seconds_per_call(call, threads, calls)})

            others = [each.name for each in libraries if each.module != EVERYSEC.module and each in stores]
            name = f"{call}{safety}, {threads} thread{'s' if threads > 1 else ''}, {title}"
            goals = [Goal(CALL, 1.0, baseline=other) for other in others]
            tags: dict[str, str | int] = {"call": call, "threads": threads, "value": value}
            baseline, subject = (others[0] if others else ""), (EVERYSEC if EVERYSEC in libraries else ALWAYS).name
            case = Case(name, METRICS, goals, tags=tags, baseline=baseline, subject=subject)
            yield run.measure(case, run.rounds(3), {each: stores[each] for each in libraries if each in stores}, take)


def _measure_sizes(run: Run, stores: dict[Library, LibraryProcess], keys: int, title: str) -> Case:
    def take(store: LibraryProcess) -> Measurement:
        figures = {PER_KEY: store.bytes_per_key(), FILL: US * store.fill_s / keys}
        return Measurement({**figures, FILES: store.file_bytes() / keys})

    subjects = {each: stores[each] for each in KILL_SAFE if each in stores}
    return run.measure(Case(f"stores of {title}", STORE_METRICS, baseline=DISKCACHE.name), 1, subjects, take)


SCENARIO = Scenario("library", "the library's calls beside diskcache and sqlitedict, 1,000,000 keys", measure_library)
