"""MEMORY: the bytes that a key takes, by the same estimate as maxmemory, and those that the process takes."""

from __future__ import annotations

from typing import Final

from kvserver.data.footprint import entry_bytes
from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command, container, help_lines
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Verbatim
from kvserver.resp.request import Request
from kvserver.state.session import Session

# Below this size Redis's doctor says nothing of a process, and so does this one.
LITTLE_BYTES: Final = 5 << 20
MUCH_MORE: Final = 1.5
TOO_LITTLE: Final = (
    "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these conditions. "
    "Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to our programming "
    "as soon as I finished rebooting.\n"
)
NO_ISSUES: Final = "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n"
ISSUES: Final = "Sam, I detected a few issues in this Redis instance memory implants:\n\n"
PEAK_ISSUE: Final = (
    " * Peak memory: In the past this instance used more than 150% the memory that is currently using. The allocator is "
    "normally not able to release memory after a peak, so you can expect to see a big fragmentation ratio, however this is "
    "actually harmless and is only due to the memory peak, and if the Redis instance Resident Set Size (RSS) is currently "
    "bigger than expected, the memory will be used as soon as you fill the Redis instance with more data. If the memory peak "
    "was only occasional and you want to try to reclaim memory, please try the MEMORY PURGE command, otherwise the only other "
    "option is to shutdown and restart the instance.\n\n"
)
ISSUES_END: Final = "I'm here to keep you safe, Sam. I want to help you.\n"


memory = container("memory",
                   since="4.0.0", group="server",
                   summary="A container for memory diagnostics commands")  # fmt: skip


def _samples(text: bytes) -> int:
    """The number of nested values to look at. It is checked and has no effect, since no value here holds others."""
    samples = integer(text)
    if samples < 0:
        raise CommandError(SYNTAX_ERROR)
    return samples


@command("memory|usage", "key:key SAMPLES=count:integer?", "readonly", access="RO", numbers={"SAMPLES": _samples},
         since="4.0.0", group="server", complexity="O(N) where N is the number of samples.",
         summary="Estimate the memory usage of a key")  # fmt: skip
def memory_usage(session: Session, request: Request) -> Reply:
    memory_usage.options(request)
    keyspace, key = session.keyspace, request[2]
    return None if keyspace.peek_live(key) is None else entry_bytes(key, keyspace.peek(key))


@command("memory|stats",
         since="4.0.0", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_shards response_policy:special",
         summary="Show memory usage details")  # fmt: skip
def memory_stats(session: Session, request: Request) -> Reply:
    server = session.server
    facts = server.process_facts()
    keys, dataset_bytes = server.databases.key_count, server.memory.used_bytes
    overhead_bytes = max(0, facts.rss_bytes - dataset_bytes)
    return {
        b"peak.allocated": facts.peak_rss_bytes,
        b"total.allocated": facts.rss_bytes,
        b"replication.backlog": 0,
        b"clients.slaves": 0,
        b"clients.normal": server.clients_bytes,
        b"cluster.links": 0,
        b"aof.buffer": server.journal.queued_bytes + server.journal.writing_bytes,
        b"lua.caches": server.scripts.facts.script_bytes,
        b"functions.caches": server.scripts.function_facts.library_bytes,
        b"overhead.total": overhead_bytes,
        b"keys.count": keys,
        b"keys.bytes-per-key": dataset_bytes // keys if keys else 0,
        b"dataset.bytes": dataset_bytes,
        b"dataset.percentage": 100 * dataset_bytes / (facts.rss_bytes or 1),
        b"peak.percentage": 100 * facts.rss_bytes / (facts.peak_rss_bytes or 1),
        # Redis on an allocator that tells nothing has the same values here: what is allocated is what the system sees.
        b"allocator.allocated": facts.rss_bytes,
        b"allocator.active": facts.rss_bytes,
        b"allocator.resident": facts.rss_bytes,
        b"allocator-fragmentation.ratio": 1.0,
        b"allocator-fragmentation.bytes": 0,
        b"allocator-rss.ratio": 1.0,
        b"allocator-rss.bytes": 0,
        b"rss-overhead.ratio": 1.0,
        b"rss-overhead.bytes": 0,
        b"fragmentation": 1.0,
        b"fragmentation.bytes": 0,
    }


@command("memory|doctor",
         since="4.0.0", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_shards response_policy:special",
         summary="Outputs memory problems report")  # fmt: skip
def memory_doctor(session: Session, request: Request) -> Reply:
    facts = session.server.process_facts()
    if session.server.memory.used_bytes < LITTLE_BYTES:
        return Verbatim(TOO_LITTLE.encode())
    if facts.peak_rss_bytes > MUCH_MORE * facts.rss_bytes:
        return Verbatim((ISSUES + PEAK_ISSUE + ISSUES_END).encode())
    return Verbatim(NO_ISSUES.encode())


@command("memory|malloc-stats",
         since="4.0.0", group="server", complexity="Depends on how much memory is allocated, could be slow",
         tips="nondeterministic_output request_policy:all_shards response_policy:special",
         summary="Show allocator internal stats")  # fmt: skip
def memory_malloc_stats(session: Session, request: Request) -> Reply:
    return Verbatim(b"Stats not supported for the current allocator")


@command("memory|purge",
         since="4.0.0", group="server", complexity="Depends on how much memory is allocated, could be slow",
         tips="request_policy:all_shards response_policy:all_succeeded",
         summary="Ask the allocator to release memory")  # fmt: skip
def memory_purge(session: Session, request: Request) -> Reply:
    # Python gives memory back by itself.
    return OK


HELP = """DOCTOR
    Return memory problems reports.
MALLOC-STATS
    Return internal statistics report from the memory allocator.
PURGE
    Attempt to purge dirty pages for reclamation by the allocator.
STATS
    Return information about the memory usage of the server.
USAGE <key> [SAMPLES <count>]
    Return memory in bytes used by <key> and its value. Nested values are
    sampled up to <count> times (default: 5, 0 means sample all)."""


@command("memory|help", "", "loading stale",
         since="4.0.0", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def memory_help(session: Session, request: Request) -> Reply:
    return help_lines("MEMORY", HELP)
