"""SENTINEL: where the primary is, as clients ask Redis's Sentinel. Each node that shares an engine answers, on its own port.

Nothing is watched and nobody votes here: the answers are what the log tells of the primary, and what nodes tell of themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kvserver.dispatch.command import command, container, help_lines
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.replication import NODE_TIMEOUT_S, NodeFacts, ReplicationFacts
from kvserver.state.session import Session

NO_SUCH_MASTER: Final = "ERR No such master with that name"
# What Sentinel's clients read of these, and what is the same for all nodes here.
_LINK: Final = {"link-pending-commands": "0", "link-refcount": "1", "last-ping-sent": "0"}
_PER_NODE = "O(N) where N is the number of {}"

sentinel = container("sentinel", since="2.8.4", group="sentinel", flags="admin loading stale",
                     summary="A container for Sentinel commands", needs_engine=True)  # fmt: skip


def _facts_of(session: Session, name: bytes) -> ReplicationFacts:
    """The facts for a call that names the primary by the name of the data. CommandError for another name."""
    facts = session.server.replication
    if name.decode("utf-8", "surrogateescape") != facts.engine.name or facts.leader is None:
        raise CommandError(NO_SUCH_MASTER)
    return facts


def _node(
    facts: ReplicationFacts, name: str, host: str, port: int, node_id: str, flags: str, seen_s_ago: float
) -> dict[str, str]:
    """What is told of any node, in Sentinel's order."""
    seen = f"{max(seen_s_ago, 0) * 1000:.0f}"
    down = {"s-down-time": seen} if "s_down" in flags else {}
    return {
        "name": name, "ip": host, "port": f"{port}", "runid": node_id, "flags": flags, **_LINK,
        "last-ok-ping-reply": seen, "last-ping-reply": seen, **down,
        "down-after-milliseconds": f"{NODE_TIMEOUT_S * 1000:.0f}",
    }  # fmt: skip


def _reply(fields: dict[str, str]) -> Reply:
    return {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in fields.items()}


def _primary(facts: ReplicationFacts) -> Reply:
    primary = facts.primary
    assert primary
    node = next((each for each in facts.others if each.id == primary.id), None)
    # Whoever hears from its log knows that it is there, whatever it tells of itself.
    is_down = facts.is_stale and not (node and node.is_up)
    seen_s_ago = 0.0 if facts.is_primary else facts.tail_age_s()
    seen, flags = f"{seen_s_ago * 1000:.0f}", "s_down,master" if is_down else "master"
    return _reply({
        **_node(facts, facts.engine.name, primary.host, primary.port, primary.id, flags, seen_s_ago),
        "info-refresh": seen, "role-reported": "master", "role-reported-time": seen,
        "config-epoch": f"{facts.epoch}", "num-slaves": f"{len(list(_replicas(facts)))}",
        "num-other-sentinels": f"{sum(each.is_up for each in facts.others)}",
        # The engine settles who leads: one node that says so is as good as all.
        "quorum": "1", "failover-timeout": f"{facts.engine.lease_ms}", "parallel-syncs": "1",
    })  # fmt: skip


def _replicas(facts: ReplicationFacts) -> Iterator[NodeFacts]:
    """The nodes that follow: others, and this one, if it does."""
    if not facts.is_primary:
        yield NodeFacts(facts.node_id, facts.host, facts.port, is_primary=False, applied=facts.applied, seen_s_ago=0.0)
    assert facts.primary
    # Who has led until now may not have told yet that it does not.
    yield from (node for node in facts.others if node.id != facts.primary.id)


def _replica(facts: ReplicationFacts, node: NodeFacts) -> Reply:
    primary, seen = facts.primary, f"{node.seen_s_ago * 1000:.0f}"
    assert primary
    return _reply({
        **_node(facts, f"{node.host}:{node.port}", node.host, node.port, node.id,
                "slave" if node.is_up else "s_down,slave,disconnected", node.seen_s_ago),
        "info-refresh": seen, "role-reported": "slave", "role-reported-time": seen, "master-link-down-time": "0",
        "master-link-status": "ok", "master-host": primary.host, "master-port": f"{primary.port}", "slave-priority": "100",
        "slave-repl-offset": f"{node.applied}", "replica-announced": "1",
    })  # fmt: skip


def _sentinel(facts: ReplicationFacts, node: NodeFacts) -> Reply:
    flags = "sentinel" if node.is_up else "s_down,sentinel,disconnected"
    seen = f"{node.seen_s_ago * 1000:.0f}"
    return _reply({
        **_node(facts, node.id, node.host, node.port, node.id, flags, node.seen_s_ago),
        "last-hello-message": seen, "voted-leader": "?", "voted-leader-epoch": "0",
    })  # fmt: skip


@command("sentinel|masters", "", "admin loading stale",
         since="2.8.4", group="sentinel", complexity=_PER_NODE.format("masters"),
         summary="List the monitored masters")  # fmt: skip
def masters(session: Session, request: Request) -> Reply:
    facts = session.server.replication
    return [_primary(facts)] if facts.leader else []


@command("sentinel|master", "master-name", "admin loading stale",
         since="2.8.4", group="sentinel", complexity="O(1)", summary="Shows the state of a master")  # fmt: skip
def master(session: Session, request: Request) -> Reply:
    return _primary(_facts_of(session, request[2]))


@command("sentinel|get-master-addr-by-name", "master-name", "admin loading stale",
         since="2.8.4", group="sentinel", complexity="O(1)", summary="Get port and address of a master")  # fmt: skip
def get_master_addr_by_name(session: Session, request: Request) -> Reply:
    try:
        primary = _facts_of(session, request[2]).primary
    except CommandError:
        return NULL_ARRAY
    assert primary
    return [primary.host.encode("utf-8", "surrogateescape"), b"%d" % primary.port]


@command("sentinel|replicas", "master-name", "admin loading stale",
         since="5.0.0", group="sentinel", complexity=_PER_NODE.format("replicas"),
         summary="List the monitored replicas")  # fmt: skip
def replicas(session: Session, request: Request) -> Reply:
    facts = _facts_of(session, request[2])
    return [_replica(facts, node) for node in _replicas(facts)]


@command("sentinel|slaves", "master-name", "admin loading stale",
         since="2.8.0", group="sentinel", complexity=_PER_NODE.format("slaves"),
         summary="List the monitored slaves", deprecated=("5.0.0", "`SENTINEL REPLICAS`"))  # fmt: skip
def slaves(session: Session, request: Request) -> Reply:
    facts = _facts_of(session, request[2])
    return [_replica(facts, node) for node in _replicas(facts)]


@command("sentinel|sentinels", "master-name", "admin loading stale",
         since="2.8.4", group="sentinel", complexity=_PER_NODE.format("Sentinels"),
         summary="List the Sentinel instances")  # fmt: skip
def sentinels(session: Session, request: Request) -> Reply:
    facts = _facts_of(session, request[2])
    return [_sentinel(facts, node) for node in facts.others]


@command("sentinel|ckquorum", "master-name", "admin loading stale",
         since="2.8.4", group="sentinel", complexity="O(1)", summary="Check for a Sentinel quorum")  # fmt: skip
def ckquorum(session: Session, request: Request) -> Reply:
    facts = _facts_of(session, request[2])
    usable = 1 + sum(node.is_up for node in facts.others)
    return Simple(f"OK {usable} usable Sentinels. Quorum and failover authorization can be reached")


@command("sentinel|myid", "", "admin loading stale",
         since="6.2.0", group="sentinel", complexity="O(1)", summary="Get the Sentinel instance ID")  # fmt: skip
def myid(session: Session, request: Request) -> Reply:
    return session.server.replication.node_id.encode()


@command("sentinel|help", "", "loading stale",
         since="6.2.0", group="sentinel", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def help_(session: Session, request: Request) -> Reply:
    return help_lines("SENTINEL", """\
CKQUORUM <master-name>
    Tell how many nodes answer. The engine's log settles who leads.
GET-MASTER-ADDR-BY-NAME <master-name>
    Return the ip and port number of the master with that name.
MASTER <master-name>
    Show the state and info of the specified master.
MASTERS
    Show the master and its state.
MYID
    Return the ID of this node.
REPLICAS <master-name>
    Show a list of replicas for this master and their state.
SENTINELS <master-name>
    Show a list of the other nodes, each of which answers SENTINEL.""")  # fmt: skip
