"""The server's part among the nodes that share an engine, or beside a source: what INFO, ROLE, SENTINEL and the gate ask.

`failover` and `following` keep it up to date; commands only read it. Without an engine or a source it says that the server is
a primary, and alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from kvserver.state.source import LinkState, SourceFacts

# A node that was not heard of for so long is down.
NODE_TIMEOUT_S: Final = 5.0


class NodeFacts(NamedTuple):
    """Another node, as it has told of itself: its random id, its address for clients, and how far it has come.

    `applied` is the number of the last entry of the log whose effect its readers see. `seen_s_ago` is the time since it last
    told anything new, in seconds.
    """

    id: str
    host: str
    port: int
    is_primary: bool
    applied: int
    seen_s_ago: float

    @property
    def is_up(self) -> bool:
        return self.seen_s_ago < NODE_TIMEOUT_S


class Primary(NamedTuple):
    """The node that was last seen to lead, by its own word in the log."""

    id: str
    host: str
    port: int


class EngineFacts:
    """The figures of the engine for INFO medium, since the start.

    - `url` is without a password; empty: there is no engine. `name` is the one that Sentinel's clients ask for.
    - `lease_ms` is how long the primary may be silent. `lease_left_ms` gives how long replies may still leave: 0 on standbys.
    - `appended` counts entries that were acknowledged, `refused` those that were not taken, `unknown` calls whose outcome was
      settled by reading: of these, `unknown_landed` were there, and `unknown_sent_again` were not.
    - `failed` counts calls that certainly did nothing, and were made again.
    - `append_p50_us` and `append_p99_us` are of the last minute, in microseconds.
    - `waiting_bytes` wait for the engine, in flight or not.
    - `error` is what the engine last failed with, if it has not answered since; else empty.
    - `promises` say what survives which failure, and `warnings` what does not.
    """

    def __init__(self) -> None:
        self.url = ""
        self.name = ""
        self.lease_ms = 0
        self.lease_left_ms: Callable[[], int] = lambda: 0
        self.appended = 0
        self.refused = 0
        self.unknown = 0
        self.unknown_landed = 0
        self.unknown_sent_again = 0
        self.failed = 0
        self.append_p50_us: Callable[[], int] = lambda: 0
        self.append_p99_us: Callable[[], int] = lambda: 0
        self.waiting_bytes: Callable[[], int] = lambda: 0
        self.error = ""
        self.promises: Sequence[str] = ()
        self.warnings: Sequence[str] = ()


class ReplicationFacts:
    """The role of this server and its place in the log.

    - `is_primary`: it writes. Without an engine it does unless it follows a `source`, a server whose data it takes over.
    - `host` and `port` are where clients and other nodes reach this server, if they are known.
    - `node_id` is its name among the nodes, anew at each start. `log_id` (40 hex digits) names the log and the epoch.
    - `epoch` is that of the primary which was last seen to lead.
    - `applied` is the number of the last entry whose effect readers see; a primary's is that of its last acknowledged one.
    - `primary` is who leads, this server included; None: nobody was seen to.
    - `others` are the other nodes. `switches` counts the times at which another node began to lead since the start.
    - `tail_age_s` gives the time since a standby last heard from the log, in seconds. `is_link_up`: the engine answers.
    - `written` gives the number of the entry that has everything which was written so far, for WAIT; the entry may be to come.
    - `on_switch`, if it is set, is called when another node begins to lead: with the old primary, if any, and the new one.
    - `on_progress` is called when entries were acknowledged, or other nodes have told something new.
    - `is_yielding`: this primary is about to let another node lead.
    """

    def __init__(self) -> None:
        self.is_primary = True
        self.source: SourceFacts | None = None
        self.host = ""
        self.port = 0
        self.node_id = ""
        self.log_id = "0" * 40
        self.epoch = 0
        self.applied = 0
        self.primary: Primary | None = None
        self.others: Sequence[NodeFacts] = ()
        self.switches = 0
        self.tail_age_s: Callable[[], float] = lambda: 0.0
        self.is_link_up = True
        self.written: Callable[[], int] = lambda: 0
        self.on_switch: Callable[[Primary | None, Primary], None] | None = None
        self.on_progress: Callable[[], None] = lambda: None
        self.is_yielding = False
        self.is_leaving = False
        self.engine = EngineFacts()

    @property
    def is_shared(self) -> bool:
        """True if the data is in an engine that several nodes share."""
        return bool(self.engine.url)

    @property
    def is_standby(self) -> bool:
        """True if another node leads that shares the engine: the snapshots are that one's."""
        return not self.is_primary and self.source is None

    @property
    def is_stale(self) -> bool:
        """True for a standby that has not heard from the log for longer than a lease, or without a link to its source."""
        if self.source:
            return self.source.state is not LinkState.CONNECTED
        return not self.is_primary and self.tail_age_s() * 1000 > self.engine.lease_ms

    @property
    def leader(self) -> Primary | None:
        """The primary, as clients are told: nobody, if the last one to lead was this node, and it does not any more."""
        primary = self.primary
        if primary and not self.is_primary and (primary.host, primary.port) == (self.host, self.port):
            return None
        return primary

    @property
    def replicas(self) -> list[NodeFacts]:
        """The other nodes that follow, and are up."""
        return [node for node in self.others if node.is_up and not node.is_primary]

    def count_applied(self, number: int) -> int:
        """The number of other nodes whose readers see the entry of this number, as far as they have told."""
        return sum(node.applied >= number for node in self.replicas)
