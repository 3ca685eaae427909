"""INFO replication and INFO medium: the nodes that share an engine, and how the engine does.

Offsets are the numbers of entries in the engine's log. What is told is only read, and never changed.
"""

from __future__ import annotations

from typing import Final

from kvserver.state.session import ServerState
from kvserver.state.source import LinkState, SourceFacts

Fields = dict[str, object]

# Clients take a value with a comma for a list, and one with an equals sign for a table.
_PLAIN: Final = str.maketrans({",": ";", "=": ":"})


def replication(state: ServerState) -> Fields:
    """The fields of INFO replication."""
    facts = state.replication
    replicas = facts.replicas if facts.is_primary else []
    fields: Fields = {"role": "master"}
    if facts.source:
        fields = _of_follower(state, facts.source)
    elif not facts.is_primary:
        fields = _of_standby(state)
    fields["connected_slaves"] = len(replicas)
    for place, node in enumerate(replicas):
        fields[f"slave{place}"] = (
            f"ip={node.host},port={node.port},state=online,offset={node.applied},lag={int(node.seen_s_ago)}"
        )
    return fields | {
        "master_failover_state": "failover-in-progress" if facts.is_yielding else "no-failover",
        "master_replid": facts.log_id if facts.is_shared else (facts.source and facts.source.run) or state.run_id,
        "master_replid2": "0" * 40,
        "master_repl_offset": facts.source.offset if facts.source else facts.applied,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": 0,
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    }


def _of_follower(state: ServerState, source: SourceFacts) -> Fields:
    is_up, is_syncing = source.state is LinkState.CONNECTED, source.state is LinkState.SYNC
    fields: Fields = {
        "role": "slave",
        "master_host": source.host,
        "master_port": source.port,
        "master_link_status": "up" if is_up else "down",
        "master_last_io_seconds_ago": int(source.silence_s) if is_up else -1,
        "master_sync_in_progress": int(is_syncing),
        "slave_read_repl_offset": source.read_offset,
        "slave_repl_offset": source.offset,
    }
    if is_syncing:
        total, done = source.sync_bytes, source.synced_bytes
        fields |= {
            # As in Redis, -1 stands for a length that nobody tells.
            "master_sync_total_bytes": total or -1,
            "master_sync_read_bytes": done,
            "master_sync_left_bytes": total - done if total else -1,
            "master_sync_perc": f"{100 * done / total if total else 0:.2f}",
            "master_sync_last_io_seconds_ago": int(source.silence_s),
        }
    if not is_up:
        fields["master_link_down_since_seconds"] = -1 if source.down_s is None else int(source.down_s)
        fields["master_link_error"] = source.error.translate(_PLAIN)
        fields["master_link_given_up"] = int(source.has_given_up)
    priority = state.config.inert.get("replica-priority", "100")
    return fields | {"slave_priority": priority, "slave_read_only": 1, "replica_announced": 1}


def _of_standby(state: ServerState) -> Fields:
    facts = state.replication
    leader = facts.leader
    host, port = (leader.host, leader.port) if leader else ("", 0)
    age_s, is_up = int(facts.tail_age_s()), facts.is_link_up and leader is not None
    fields: Fields = {
        "role": "slave",
        "master_host": host,
        "master_port": port,
        "master_link_status": "up" if is_up else "down",
        "master_last_io_seconds_ago": age_s if is_up else -1,
        "master_sync_in_progress": int(state.persistence.loading),
        "slave_read_repl_offset": facts.applied,
        "slave_repl_offset": facts.applied,
    }
    if not is_up:
        fields["master_link_down_since_seconds"] = age_s
    return fields | {"slave_priority": 100, "slave_read_only": 1, "replica_announced": 1}


def medium(state: ServerState) -> Fields:
    """The fields of INFO medium, of a server whose data is in an engine. Texts have semicolons where they had commas."""
    facts, engine = state.replication, state.replication.engine
    return {
        "medium_url": engine.url.translate(_PLAIN),
        "medium_name": engine.name,
        "medium_error": engine.error.translate(_PLAIN),
        "medium_node": facts.node_id,
        "medium_epoch": facts.epoch,
        "medium_switches": facts.switches,
        "medium_lease_ms": engine.lease_ms,
        "medium_lease_left_ms": engine.lease_left_ms(),
        "medium_appends": engine.appended,
        "medium_appends_refused": engine.refused,
        "medium_appends_failed": engine.failed,
        "medium_appends_unknown": engine.unknown,
        "medium_appends_unknown_landed": engine.unknown_landed,
        "medium_appends_unknown_sent_again": engine.unknown_sent_again,
        "medium_append_p50_usec": engine.append_p50_us(),
        "medium_append_p99_usec": engine.append_p99_us(),
        "medium_pending_bytes": engine.waiting_bytes(),
        **{f"medium_promise{place}": line.translate(_PLAIN) for place, line in enumerate(engine.promises)},
    }
