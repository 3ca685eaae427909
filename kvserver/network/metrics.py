"""The figures of INFO as Prometheus reads them, under redis_exporter's names, so that its dashboards and alerts work.

What redis_exporter makes of INFO's fields stands in the tables here. The page is made in pieces, each of which is a short step
of the event loop. prometheus_client, which the extra `http` brings, writes the text. The state is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from prometheus_client import Metric, generate_latest

from kvserver.commands import info, nodes_info
from kvserver.commands.nodes_info import Fields
from kvserver.state.session import ServerState
from kvserver.state.statistics import Buffers

T = TypeVar("T")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "redis_"
# Measured: so many samples take a third of a millisecond.
SAMPLES_IN_A_PIECE: Final = 50
CLIENTS_IN_A_PIECE: Final = 100

# What INFO's sections of plain fields have, under redis_exporter's names.
GAUGES: Final = {
    "uptime_in_seconds": "uptime_in_seconds",
    "process_id": "process_id",
    "hz": "hz",
    "configured_hz": "configured_hz",
    "connected_clients": "connected_clients",
    "maxclients": "config_maxclients",
    "blocked_clients": "blocked_clients",
    "tracking_clients": "tracking_clients",
    "client_recent_max_input_buffer": "client_recent_max_input_buffer_bytes",
    "client_recent_max_output_buffer": "client_recent_max_output_buffer_bytes",
    "allocator_active": "allocator_active_bytes",
    "allocator_allocated": "allocator_allocated_bytes",
    "allocator_resident": "allocator_resident_bytes",
    "allocator_frag_ratio": "allocator_frag_ratio",
    "allocator_frag_bytes": "allocator_frag_bytes",
    "allocator_rss_ratio": "allocator_rss_ratio",
    "allocator_rss_bytes": "allocator_rss_bytes",
    "total_system_memory": "total_system_memory_bytes",
    "used_memory": "memory_used_bytes",
    "used_memory_rss": "memory_used_rss_bytes",
    "used_memory_peak": "memory_used_peak_bytes",
    "used_memory_lua": "memory_used_lua_bytes",
    "used_memory_overhead": "memory_used_overhead_bytes",
    "used_memory_startup": "memory_used_startup_bytes",
    "used_memory_dataset": "memory_used_dataset_bytes",
    "used_memory_scripts": "memory_used_scripts_bytes",
    "maxmemory": "memory_max_bytes",
    "mem_fragmentation_ratio": "mem_fragmentation_ratio",
    "mem_fragmentation_bytes": "mem_fragmentation_bytes",
    "mem_clients_slaves": "mem_clients_slaves",
    "mem_clients_normal": "mem_clients_normal",
    "mem_not_counted_for_evict": "mem_not_counted_for_eviction_bytes",
    "lazyfree_pending_objects": "lazyfree_pending_objects",
    "active_defrag_running": "active_defrag_running",
    "migrate_cached_sockets": "migrate_cached_sockets_total",
    "active_defrag_hits": "defrag_hits",
    "active_defrag_misses": "defrag_misses",
    "active_defrag_key_hits": "defrag_key_hits",
    "active_defrag_key_misses": "defrag_key_misses",
    "loading": "loading_dump_file",
    "rdb_changes_since_last_save": "rdb_changes_since_last_save",
    "rdb_bgsave_in_progress": "rdb_bgsave_in_progress",
    "rdb_last_save_time": "rdb_last_save_timestamp_seconds",
    "rdb_last_bgsave_status": "rdb_last_bgsave_status",
    "rdb_last_bgsave_time_sec": "rdb_last_bgsave_duration_sec",
    "rdb_current_bgsave_time_sec": "rdb_current_bgsave_duration_sec",
    "rdb_last_cow_size": "rdb_last_cow_size_bytes",
    "aof_enabled": "aof_enabled",
    "aof_rewrite_in_progress": "aof_rewrite_in_progress",
    "aof_rewrite_scheduled": "aof_rewrite_scheduled",
    "aof_last_rewrite_time_sec": "aof_last_rewrite_duration_sec",
    "aof_current_rewrite_time_sec": "aof_current_rewrite_duration_sec",
    "aof_last_cow_size": "aof_last_cow_size_bytes",
    "aof_current_size": "aof_current_size_bytes",
    "aof_base_size": "aof_base_size_bytes",
    "aof_pending_rewrite": "aof_pending_rewrite",
    "aof_buffer_length": "aof_buffer_length",
    "aof_delayed_fsync": "aof_delayed_fsync",
    "aof_last_bgrewrite_status": "aof_last_bgrewrite_status",
    "aof_last_write_status": "aof_last_write_status",
    "module_fork_in_progress": "module_fork_in_progress",
    "module_fork_last_cow_size": "module_fork_last_cow_size",
    "pubsub_channels": "pubsub_channels",
    "pubsub_patterns": "pubsub_patterns",
    "latest_fork_usec": "latest_fork_usec",
    "connected_slaves": "connected_slaves",
    "repl_backlog_size": "replication_backlog_bytes",
    "repl_backlog_active": "repl_backlog_is_active",
    "repl_backlog_first_byte_offset": "repl_backlog_first_byte_offset",
    "repl_backlog_histlen": "repl_backlog_history_bytes",
    "master_repl_offset": "master_repl_offset",
    "second_repl_offset": "second_repl_offset",
    "slave_expires_tracked_keys": "slave_expires_tracked_keys",
    "sync_full": "replica_resyncs_full",
    "sync_partial_ok": "replica_partial_resync_accepted",
    "sync_partial_err": "replica_partial_resync_denied",
}
COUNTERS: Final = {
    "total_connections_received": "connections_received_total",
    "total_commands_processed": "commands_processed_total",
    "rejected_connections": "rejected_connections_total",
    "total_net_input_bytes": "net_input_bytes_total",
    "total_net_output_bytes": "net_output_bytes_total",
    "expired_keys": "expired_keys_total",
    "evicted_keys": "evicted_keys_total",
    "keyspace_hits": "keyspace_hits_total",
    "keyspace_misses": "keyspace_misses_total",
    "used_cpu_sys": "cpu_sys_seconds_total",
    "used_cpu_user": "cpu_user_seconds_total",
    "used_cpu_sys_children": "cpu_sys_children_seconds_total",
    "used_cpu_user_children": "cpu_user_children_seconds_total",
}
# What a standby has besides.
STANDBY_GAUGES: Final = {
    "master_link_status": "master_link_up",
    "master_last_io_seconds_ago": "master_last_io_seconds_ago",
    "master_sync_in_progress": "master_sync_in_progress",
    "slave_repl_offset": "slave_repl_offset",
}
# What INFO persistence has where snapshots are copied elsewhere, and what INFO medium has, under names of our own.
OWN_PREFIX: Final = "kvserver_"
BACKUP_GAUGES: Final = {
    "snapshots_in_progress": "snapshots_in_progress",
    "snapshots_last_status": "snapshots_last_status",
    "snapshots_last_time": "snapshots_last_timestamp_seconds",
    "snapshots_lag": "snapshots_lag_seconds",
}
MEDIUM_GAUGES: Final = {
    "medium_epoch": "medium_epoch",
    "medium_lease_left_ms": "medium_lease_left_milliseconds",
    "medium_append_p50_usec": "medium_append_p50_microseconds",
    "medium_append_p99_usec": "medium_append_p99_microseconds",
    "medium_pending_bytes": "medium_pending_bytes",
}
MEDIUM_COUNTERS: Final = {
    "medium_appends": "medium_appends_total",
    "medium_appends_refused": "medium_appends_refused_total",
    "medium_appends_failed": "medium_appends_failed_total",
    "medium_appends_unknown": "medium_appends_unknown_total",
    "medium_switches": "medium_switches_total",
}
_TABLES: Final = (
    (PREFIX, "gauge", GAUGES),
    (PREFIX, "gauge", STANDBY_GAUGES),
    (PREFIX, "counter", COUNTERS),
    (OWN_PREFIX, "gauge", BACKUP_GAUGES),
    (OWN_PREFIX, "gauge", MEDIUM_GAUGES),
    (OWN_PREFIX, "counter", MEDIUM_COUNTERS),
)
_STATUS: Final = {"ok": 1.0, "err": 0.0, "up": 1.0, "down": 0.0}
_INSTANCE: Final = ("role", "redis_version", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id", "process_id",
                    "master_replid")  # fmt: skip
_OWN: Final = ("kvserver_version", "kvserver_build", "kvserver_leaves", "python_version", "multiplexing_api")

Labels = dict[str, str]
Sample = tuple[Labels, float]


class _Gathered:
    """Metrics as prometheus_client takes them from a registry."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def pieces(state: ServerState) -> Iterator[bytes]:
    """The pieces of the page, in their order."""
    held: list[Buffers] = []
    for ids in _in_pieces(list(state.sessions), CLIENTS_IN_A_PIECE):
        # Some may have left since.
        held += [state.buffers_of(each) for each in ids if each in state.sessions]
        yield b""
    total_bytes = sum(buffers.total_bytes for buffers in held)
    sections: tuple[Callable[[], Fields], ...] = (
        lambda: info.server(state),
        lambda: info.clients(state, held),
        lambda: info.memory(state, total_bytes),
        lambda: info.persistence(state),
        lambda: info.stats(state),
        lambda: nodes_info.replication(state),
        lambda: nodes_info.medium(state) if state.replication.is_shared else {},
        lambda: info.cpu(state),
    )
    state.usages.fold_all()
    told: Fields = {}
    for section in sections:
        fields = section()
        told |= fields
        metrics = [_metric(kind, name, f"INFO's {field}", [({}, _number(fields[field]))], prefix=prefix)
                   for prefix, kind, names in _TABLES
                   for field, name in names.items() if field in fields]  # fmt: skip
        yield _text(metrics)
    started_at_s = state.started_at_ms / 1000
    yield _text([
        _metric("gauge", "up", "It answers", [({}, 1.0)]),
        _metric("gauge", "start_time_seconds", "Unix time of the start", [({}, started_at_s)]),
        _metric("gauge", "slowlog_length", "Commands in the slow log", [({}, float(len(state.slowlog)))]),
        _metric("gauge", "instance_info", "What it is", [({name: str(told[name]) for name in _INSTANCE}, 1.0)]),
        _metric("gauge", "kvserver_info", "What runs it", [({name: str(told[name]) for name in _OWN}, 1.0)], prefix=""),
    ])  # fmt: skip
    yield from _databases(state)
    yield from _commands(state)


def _databases(state: ServerState) -> Iterator[bytes]:
    """What INFO keyspace tells. The first database is told of even if it is empty, so that a graph has a beginning."""
    keys: list[Sample] = []
    expiring: list[Sample] = []
    left_s: list[Sample] = []
    for data in state.databases:
        if len(data) or not data.number:
            labels = {"db": f"db{data.number}"}
            expires, average_ms = data.expiries()
            keys.append((labels, float(len(data))))
            expiring.append((labels, float(expires)))
            left_s.append((labels, average_ms / 1000))
            # To estimate what expires is a step by itself.
            yield b""
    yield from _long("gauge", "db_keys", "Keys by database", keys)
    yield from _long("gauge", "db_keys_expiring", "Keys with an expiry by database, estimated", expiring)
    yield from _long("gauge", "db_avg_ttl_seconds", "What such keys have left on average", left_s)


def _commands(state: ServerState) -> Iterator[bytes]:
    """What INFO commandstats and errorstats tell."""
    used = [usage for usage in state.usages.by_name.values() if usage.calls or usage.rejected or usage.failed]
    figures = {
        "commands_total": ("Calls by command", [float(usage.calls) for usage in used]),
        "commands_duration_seconds_total": ("Time that they took together", [usage.usec / 1e6 for usage in used]),
        "commands_rejected_calls_total": (
            "Calls that were refused before they ran",
            [float(usage.rejected) for usage in used],
        ),
        "commands_failed_calls_total": ("Calls that were answered by an error", [float(usage.failed) for usage in used]),
    }
    for name, (about, values) in figures.items():
        samples = [({"cmd": usage.name}, value) for usage, value in zip(used, values, strict=True)]
        yield from _long("counter", name, about, samples)
    errors = [({"err": code}, float(count)) for code, count in state.usages.errors.items()]
    yield from _long("counter", "errors_total", "Errors that were sent, by their first words", errors)


def _number(value: object) -> float:
    return _STATUS[value] if isinstance(value, str) and value in _STATUS else float(str(value))


def _metric(kind: str, name: str, about: str, samples: Iterable[Sample], *, prefix: str = PREFIX) -> Metric:
    # The name of a counter's metric is that of its samples without the end.
    metric = Metric(f"{prefix}{name}".removesuffix("_total") if kind == "counter" else f"{prefix}{name}", about, kind)
    for labels, value in samples:
        metric.add_sample(f"{prefix}{name}", labels, value)
    return metric


def _long(kind: str, name: str, about: str, samples: Iterable[Sample]) -> Iterator[bytes]:
    """The pieces of a metric that may have many samples: its head comes once."""
    for number, some in enumerate(_in_pieces(list(samples), SAMPLES_IN_A_PIECE)):
        text = _text([_metric(kind, name, about, some)])
        yield text.split(b"\n", 2)[2] if number else text


def _in_pieces(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _text(metrics: list[Metric]) -> bytes:
    # It asks a registry for nothing but its metrics.
    text: bytes = generate_latest(_Gathered(*metrics))
    return text
