"""INFO: the state of the server in Redis's sections and field names; what Redis has no name for is named in its style."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.commands.row import NO_KEYS, Command
from kvserver.resp.reply import Reply, Verbatim
from kvserver.session import SERVER_VERSION, ServerState, Session

Fields = dict[str, object]


def _server(state: ServerState) -> Fields:
    facts = state.process_facts()
    uptime_s = (state.now_ms() - state.started_at_ms) // 1000
    return {
        "redis_version": SERVER_VERSION,
        "kvserver_version": state.version,
        "redis_mode": "standalone",
        "os": facts.system,
        "arch_bits": 64,
        "multiplexing_api": facts.event_loop,
        "python_version": facts.python,
        "process_id": facts.process_id,
        "run_id": state.run_id,
        "tcp_port": state.config.port,
        "server_time_usec": state.now_ms() * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // 86400,
        "executable": facts.executable,
    }


def _clients(state: ServerState) -> Fields:
    return {"connected_clients": len(state.sessions), "maxclients": state.config.maxclients, "blocked_clients": 0}


def human(size_bytes: int) -> str:
    """A size as Redis prints it: 512B, 1.46M."""
    size = float(size_bytes)
    for unit in ("B", "K", "M", "G"):
        if size < 1024:
            return f"{size_bytes}B" if unit == "B" else f"{size:.2f}{unit}"
        size /= 1024
    return f"{size:.2f}T"


def _memory(state: ServerState) -> Fields:
    facts = state.process_facts()
    sizes = {
        "used_memory": facts.rss_bytes,
        "used_memory_rss": facts.rss_bytes,
        "used_memory_peak": facts.peak_rss_bytes,
        "total_system_memory": facts.total_memory_bytes,
        "maxmemory": state.config.maxmemory,
    }
    fields: Fields = {}
    for name, size in sizes.items():
        fields |= {name: size, f"{name}_human": human(size)}
    return fields | {"maxmemory_policy": state.config.maxmemory_policy}


def _persistence(state: ServerState) -> Fields:
    facts = state.persistence
    fields: Fields = {
        "loading": int(facts.loading),
        "current_save_keys_processed": facts.flush_keys_done,
        "current_save_keys_total": facts.flush_keys_total,
        "rdb_changes_since_last_save": state.keyspace.changes - facts.changes_at_last_save,
        "rdb_bgsave_in_progress": int(facts.flush_in_progress),
        "rdb_last_save_time": facts.last_save_at,
        "rdb_last_bgsave_status": "ok" if facts.last_save_ok else "err",
        "rdb_last_bgsave_error": facts.last_save_error,
        "rdb_last_bgsave_time_sec": facts.last_save_duration_s,
        "rdb_current_bgsave_time_sec": (
            state.now_ms() // 1000 - int(facts.flush_started_at) if facts.flush_in_progress else -1
        ),
        "rdb_saves": facts.saves,
        "rdb_last_load_keys_loaded": facts.keys_loaded,
        "medium_size": facts.medium_bytes,
        "medium_frames": facts.medium_frames,
        "medium_poisoned": facts.medium_poisoned,
        "compaction_in_progress": int(facts.compaction_in_progress),
        "compactions": facts.compactions,
        **_journal(state),
    }
    if facts.loading:
        total, done = facts.load_total_bytes, facts.load_done_bytes
        fields |= {
            "loading_start_time": facts.load_started_at,
            "loading_total_bytes": total,
            "loading_loaded_bytes": done,
            "loading_loaded_perc": f"{100 * done / total if total else 100:.2f}",
        }
    return fields


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
        "aof_last_write_status": "err" if facts.error else "ok",
        "aof_last_write_error": facts.error,
        "aof_current_size": facts.base_bytes + facts.segment_bytes,
        "aof_base_size": facts.base_bytes,
        "aof_segments": facts.segments,
        "aof_pending_bytes": facts.queued_bytes + facts.writing_bytes,
        "aof_syncs": facts.syncs,
        "aof_delayed_writes": facts.delayed_writes,
        "aof_delayed_fsync": facts.delayed_syncs,
        "aof_last_load_records": facts.records_replayed,
    }


def _stats(state: ServerState) -> Fields:
    counters = state.counters
    return {
        "total_connections_received": counters.connections_received,
        "total_commands_processed": counters.commands_processed,
        "total_net_input_bytes": counters.input_bytes,
        "total_net_output_bytes": counters.output_bytes,
        "rejected_connections": counters.connections_rejected,
        "expired_keys": state.keyspace.expired,
        "evicted_keys": 0,
        "total_error_replies": state.table.usages.errors.total(),
    }


def _replication(state: ServerState) -> Fields:
    return {"role": "master", "connected_slaves": 0}


def _cpu(state: ServerState) -> Fields:
    facts = state.process_facts()
    return {"used_cpu_sys": f"{facts.cpu_system_s:.6f}", "used_cpu_user": f"{facts.cpu_user_s:.6f}"}


def _cluster(state: ServerState) -> Fields:
    return {"cluster_enabled": 0}


def _keyspace(state: ServerState) -> Fields:
    keys = len(state.keyspace)
    return {"db0": f"keys={keys},expires={state.keyspace.expiring},avg_ttl=0"} if keys else {}


SECTIONS: dict[str, Callable[[ServerState], Fields]] = {
    "Server": _server,
    "Clients": _clients,
    "Memory": _memory,
    "Persistence": _persistence,
    "Stats": _stats,
    "Replication": _replication,
    "CPU": _cpu,
    "Cluster": _cluster,
    "Keyspace": _keyspace,
}
_ALL = {"all", "default", "everything"}


def info(session: Session, args: list[bytes]) -> Reply:
    wanted = {word.decode("utf-8", "replace").lower() for word in args[1:]} or _ALL
    sections = []
    for title, section in SECTIONS.items():
        if wanted & _ALL or title.lower() in wanted:
            lines = [f"{name}:{value}" for name, value in section(session.server).items()]
            sections.append("\r\n".join([f"# {title}", *lines]) + "\r\n")
    return Verbatim("\r\n".join(sections).encode())


COMMANDS = (
    Command("info", -1, ("loading", "stale"), NO_KEYS, info, "Get information and statistics about the server", "1.0.0",
            "server", "O(1)"),
)  # fmt: skip
