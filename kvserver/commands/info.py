"""INFO: its sections, and the fields of each. A section is one function of the server's state.

A section only reads the state, and must never change it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.commands.nodes_info import Fields, medium, replication
from kvserver.containers import lazyfree
from kvserver.data.footprint import EMPTY_BYTES
from kvserver.dispatch.command import command
from kvserver.resp.reply import Reply, Verbatim
from kvserver.resp.request import Request
from kvserver.state.session import SERVER_VERSION, ServerState, Session
from kvserver.state.statistics import Buffers

LRU_CLOCK_MS: Final = 1000
LRU_CLOCK_END: Final = 1 << 24


def human(size_bytes: int) -> str:
    """A size as Redis prints it: 512B, 1.46M."""
    size = float(size_bytes)
    for unit in ("B", "K", "M", "G"):
        if size < 1024:
            return f"{size_bytes}B" if unit == "B" else f"{size:.2f}{unit}"
        size /= 1024
    return f"{size:.2f}T"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.2f}%"


def _ratio(one: float, other: float) -> str:
    return f"{one / other if other else 0:.2f}"


def server(state: ServerState) -> Fields:
    facts = state.process_facts()
    uptime_s = (state.now_ms() - state.started_at_ms) // 1000
    return {
        "redis_version": SERVER_VERSION,
        "kvserver_version": state.version,
        "kvserver_build": facts.build,
        "kvserver_leaves": facts.leaves,
        "redis_mode": "standalone",
        "os": facts.system,
        "arch_bits": 64,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": facts.event_loop,
        "python_version": facts.python,
        "process_id": facts.process_id,
        "process_supervised": "no",
        "run_id": state.run_id,
        "tcp_port": state.config.port,
        "server_time_usec": state.now_us(),
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // 86400,
        "hz": 10,
        "configured_hz": state.config.inert.get("hz", "10"),
        "lru_clock": state.now_ms() // LRU_CLOCK_MS % LRU_CLOCK_END,
        "executable": facts.executable,
        "config_file": state.config.file,
        "io_threads_active": 0,
    }


def clients(state: ServerState, held: list[Buffers] | None = None) -> Fields:
    """The clients. `held` is what their connections hold, if the caller has asked them already."""
    held = state.held_buffers() if held is None else held
    return {
        "connected_clients": len(state.sessions),
        "cluster_connections": 0,
        "maxclients": state.config.maxclients,
        # The maxima are those of the clients that are connected now: nobody remembers the buffers of others.
        "client_recent_max_input_buffer": max(
            (each.query_bytes + each.query_free_bytes + each.argument_bytes for each in held), default=0
        ),
        "client_recent_max_output_buffer": max((each.reply_bytes for each in held), default=0),
        "blocked_clients": sum(session.is_blocked for session in state.sessions.values()),
        "tracking_clients": state.tracking.client_count,
        "clients_in_timeout_table": 0,
    }


def _scripts(state: ServerState) -> dict[str, int | str]:
    """The memory of scripts and functions. That of a virtual machine is what Lua has taken."""
    scripts, functions = state.scripts.facts, state.scripts.function_facts
    vm_total = scripts.interpreter_bytes + functions.interpreter_bytes
    total = scripts.script_bytes + functions.library_bytes
    return {
        "used_memory_lua": scripts.interpreter_bytes,
        "used_memory_vm_eval": scripts.interpreter_bytes,
        "used_memory_lua_human": human(scripts.interpreter_bytes),
        "used_memory_scripts_eval": scripts.script_bytes,
        "number_of_cached_scripts": scripts.scripts,
        "number_of_functions": functions.functions,
        "number_of_libraries": functions.libraries,
        "used_memory_vm_functions": functions.interpreter_bytes,
        "used_memory_vm_total": vm_total,
        "used_memory_vm_total_human": human(vm_total),
        "used_memory_functions": functions.library_bytes,
        "used_memory_scripts": total,
        "used_memory_scripts_human": human(total),
    }


def memory(state: ServerState, clients_bytes: int | None = None) -> Fields:
    """The memory. `clients_bytes` is what all connections take, if the caller has asked them already."""
    facts = state.process_facts()
    # Python's allocator tells nothing, so `used_memory` is what keys and values take, which is what maxmemory limits.
    used, peak, rss = state.memory.used_bytes, state.memory.peak_bytes, facts.rss_bytes
    sizes = {"used_memory": used, "used_memory_rss": rss, "used_memory_peak": peak}
    fields: Fields = {}
    for name, size in sizes.items():
        fields |= {name: size, f"{name}_human": human(size)}
    fields |= {
        "used_memory_peak_perc": _percent(used, peak),
        "used_memory_overhead": EMPTY_BYTES,
        "used_memory_startup": EMPTY_BYTES,
        "used_memory_dataset": used - EMPTY_BYTES,
        "used_memory_dataset_perc": "100.00%",
        # Redis on an allocator that tells nothing has the same values here.
        "allocator_allocated": used,
        "allocator_active": rss,
        "allocator_resident": rss,
        "total_system_memory": facts.total_memory_bytes,
        "total_system_memory_human": human(facts.total_memory_bytes),
        **_scripts(state),
        "maxmemory": state.config.maxmemory,
        "maxmemory_human": human(state.config.maxmemory),
        "maxmemory_policy": state.config.maxmemory_policy,
        "allocator_frag_ratio": _ratio(rss, used),
        "allocator_frag_bytes": rss - used,
        "allocator_rss_ratio": _ratio(rss, rss),
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": _ratio(rss, rss),
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": _ratio(rss, used),
        "mem_fragmentation_bytes": rss - used,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": state.clients_bytes if clients_bytes is None else clients_bytes,
        "mem_cluster_links": 0,
        "mem_aof_buffer": state.journal.queued_bytes + state.journal.writing_bytes,
        "mem_allocator": "python",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": lazyfree.pending(),
        "lazyfreed_objects": lazyfree.freed(),
    }
    return fields


def persistence(state: ServerState) -> Fields:
    facts = state.persistence
    fields: Fields = {
        "loading": int(facts.loading),
        "async_loading": 0,
        "current_cow_peak": 0,
        "current_cow_size": 0,
        "current_cow_size_age": 0,
        "current_fork_perc": f"{100 * facts.flush_keys_done / (facts.flush_keys_total or 1):.2f}",
        "current_save_keys_processed": facts.flush_keys_done,
        "current_save_keys_total": facts.flush_keys_total,
        "rdb_changes_since_last_save": state.databases.records.changes - facts.changes_at_last_save,
        "rdb_bgsave_in_progress": int(facts.flush_in_progress),
        "rdb_last_save_time": facts.last_save_at,
        "rdb_last_bgsave_status": "ok" if facts.last_save_ok else "err",
        "rdb_last_bgsave_error": facts.last_save_error,
        "rdb_last_bgsave_time_sec": facts.last_save_duration_s,
        "rdb_current_bgsave_time_sec": (
            state.now_ms() // 1000 - int(facts.flush_started_at) if facts.flush_in_progress else -1
        ),
        "rdb_saves": facts.saves,
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": 0,
        "rdb_last_load_keys_loaded": facts.keys_loaded,
        "medium_size": facts.medium_bytes,
        "medium_frames": facts.medium_frames,
        "medium_poisoned": facts.medium_poisoned,
        "compaction_in_progress": int(facts.compaction_in_progress),
        "compactions": facts.compactions,
        **_journal(state),
        **_history(state),
        **_backup(state),
    }
    if facts.loading:
        total, done = facts.load_total_bytes, facts.load_done_bytes
        passed_s = max(state.now_ms() // 1000 - facts.load_started_at, 0)
        fields |= {
            "loading_start_time": facts.load_started_at,
            "loading_total_bytes": total,
            "loading_loaded_bytes": done,
            "loading_loaded_perc": f"{100 * done / total if total else 100:.2f}",
            "loading_eta_seconds": passed_s * (total - done) // done if done else 1,
        }
    return fields


def _backup(state: ServerState) -> Fields:
    facts = state.backup
    if not facts.url:
        return {}
    return {
        "snapshots_url": facts.url,
        "snapshots_in_progress": int(facts.in_progress),
        "snapshots_last_status": "err" if facts.error else "ok",
        "snapshots_last_error": facts.error,
        "snapshots_last_time": facts.last_at,
        "snapshots_lag": max(state.now_ms() // 1000 - int(facts.waiting_since), 0) if facts.waiting_since else 0,
    }


def _history(state: ServerState) -> Fields:
    facts = state.history
    if not (facts.enabled or facts.bytes):
        return {}
    return {
        "history_enabled": int(facts.enabled),
        "history_frames": facts.frames,
        "history_segments": facts.segments,
        "history_size": facts.bytes,
        "history_begin_time": facts.begins_at_ms // 1000,
        "history_last_status": "err" if facts.error else "ok",
        "history_last_error": facts.error,
    }


def _journal(state: ServerState) -> Fields:
    facts = state.journal
    rewriting_s = state.now_ms() // 1000 - int(facts.rewrite_started_at)
    return {
        "aof_enabled": int(facts.enabled),
        "aof_rewrite_in_progress": int(facts.rewrite_in_progress),
        "aof_rewrite_scheduled": int(facts.rewrite_scheduled),
        "aof_last_rewrite_time_sec": facts.last_rewrite_duration_s,
        "aof_current_rewrite_time_sec": rewriting_s if facts.rewrite_in_progress else -1,
        "aof_last_bgrewrite_status": "ok" if facts.last_rewrite_ok else "err",
        "aof_rewrites": facts.rewrites,
        "aof_rewrites_consecutive_failures": facts.rewrites_failed,
        "aof_last_write_status": "err" if facts.error else "ok",
        "aof_last_write_error": facts.error,
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
        "aof_current_size": facts.base_bytes + facts.segment_bytes,
        "aof_base_size": facts.base_bytes,
        "aof_pending_rewrite": int(facts.rewrite_scheduled),
        "aof_buffer_length": facts.queued_bytes,
        "aof_segments": facts.segments,
        "aof_pending_bytes": facts.queued_bytes + facts.writing_bytes,
        "aof_syncs": facts.syncs,
        "aof_delayed_writes": facts.delayed_writes,
        "aof_delayed_fsync": facts.delayed_syncs,
        "aof_last_load_records": facts.records_replayed,
    }


def stats(state: ServerState) -> Fields:
    counters, rates, databases = state.counters, state.rates, list(state.databases)
    missed_gets = sum(data.missed_gets for data in databases)
    gets = state.usages.by_name[b"get"].calls
    return {
        "total_connections_received": counters.connections_received,
        "total_commands_processed": state.usages.calls,
        "instantaneous_ops_per_sec": round(rates.commands.per_second),
        "total_net_input_bytes": counters.input_bytes,
        "total_net_output_bytes": counters.output_bytes,
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": f"{rates.input_bytes.per_second / 1024:.2f}",
        "instantaneous_output_kbps": f"{rates.output_bytes.per_second / 1024:.2f}",
        "instantaneous_input_repl_kbps": f"{0:.2f}",
        "instantaneous_output_repl_kbps": f"{0:.2f}",
        "rejected_connections": counters.connections_rejected,
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": sum(data.expired for data in databases),
        "evicted_keys": sum(data.evicted for data in databases),
        "evicted_clients": 0,
        "keyspace_hits": sum(data.hits for data in databases) + max(gets - missed_gets, 0),
        "keyspace_misses": sum(data.misses for data in databases) + missed_gets,
        "pubsub_channels": len(state.channels.channels),
        "pubsub_patterns": len(state.channels.patterns),
        "pubsubshard_channels": len(state.channels.shard_channels),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": state.tracking.key_count,
        "tracking_total_items": state.tracking.item_count,
        "tracking_total_prefixes": state.tracking.prefix_count,
        "unexpected_error_replies": 0,
        "total_error_replies": state.usages.errors.total(),
        "dump_payload_sanitizations": 0,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    }


def cpu(state: ServerState) -> Fields:
    facts = state.process_facts()
    return {
        "used_cpu_sys": f"{facts.cpu_system_s:.6f}",
        "used_cpu_user": f"{facts.cpu_user_s:.6f}",
        "used_cpu_sys_children": f"{0:.6f}",
        "used_cpu_user_children": f"{0:.6f}",
        "used_cpu_sys_main_thread": f"{facts.thread_system_s:.6f}",
        "used_cpu_user_main_thread": f"{facts.thread_user_s:.6f}",
    }


def modules(state: ServerState) -> Fields:
    return {}


def commandstats(state: ServerState) -> Fields:
    fields: Fields = {}
    for usage in state.usages.by_name.values():
        if usage.calls or usage.rejected or usage.failed:
            fields[f"cmdstat_{usage.name}"] = (
                f"calls={usage.calls},usec={usage.usec},usec_per_call={_ratio(usage.usec, usage.calls)},"
                f"rejected_calls={usage.rejected},failed_calls={usage.failed}"
            )
    return fields


def errorstats(state: ServerState) -> Fields:
    return {f"errorstat_{code}": f"count={count}" for code, count in sorted(state.usages.errors.items())}


def latencystats(state: ServerState) -> Fields:
    percents = state.config.latency_tracking_info_percentiles
    if not state.config.latency_tracking:
        return {}
    return {
        f"latency_percentiles_usec_{usage.name}": ",".join(
            f"p{percent:.10g}={usage.percentile_us(percent):.3f}" for percent in percents
        )
        for usage in state.usages.by_name.values()
        if usage.histogram
    }


def cluster(state: ServerState) -> Fields:
    return {"cluster_enabled": 0}


def keyspace(state: ServerState) -> Fields:
    fields: Fields = {}
    for data in filter(len, state.databases):
        expires, left_ms = data.expiries()
        fields[f"db{data.number}"] = f"keys={len(data)},expires={expires},avg_ttl={left_ms}"
    return fields


Section = Callable[[ServerState], Fields]
SECTIONS: Final[dict[str, Section]] = {
    "Server": server,
    "Clients": clients,
    "Memory": memory,
    "Persistence": persistence,
    "Stats": stats,
    "Replication": replication,
    "CPU": cpu,
    "Modules": modules,
    "Commandstats": commandstats,
    "Errorstats": errorstats,
    "Latencystats": latencystats,
    "Cluster": cluster,
    "Keyspace": keyspace,
}
DEFAULT: Final = [title for title in SECTIONS if title not in ("Commandstats", "Latencystats")]
# The sections of a server whose data is in an engine, behind the others.
OF_ENGINE: Final[dict[str, Section]] = {"Medium": medium}

_GROUPS = {
    "default": [*DEFAULT, *OF_ENGINE],
    "all": [*SECTIONS, *OF_ENGINE],
    "everything": [*SECTIONS, *OF_ENGINE],
}


def _wanted(words: list[bytes]) -> set[str]:
    """The titles of the sections that are asked for, in lower case."""
    names = [word.decode("utf-8", "replace").lower() for word in words] or ["default"]
    return {title.lower() for name in names for title in _GROUPS.get(name, [name])}


@command("info", "section?+", "loading stale",
         since="1.0.0", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_shards response_policy:special", categories="dangerous",
         summary="Get information and statistics about the server")  # fmt: skip
def info(session: Session, request: Request) -> Reply:
    state = session.server
    state.usages.fold_all()
    wanted = _wanted(request[1:])
    texts = []
    sections = {**SECTIONS, **OF_ENGINE} if state.replication.is_shared else SECTIONS
    for title, section in sections.items():
        if title.lower() in wanted:
            lines = [f"{name}:{value}" for name, value in section(state).items()]
            texts.append("\r\n".join([f"# {title}", *lines]) + "\r\n")
    return Verbatim("\r\n".join(texts).encode("utf-8", "surrogateescape"))
