"""ROLE, WAIT, WAITAOF, FAILOVER, REPLICAOF: the part of this server among the nodes that share an engine, or beside a source.

Offsets are the numbers of entries in the engine's log, or those of a source's stream. Nothing here decides who leads, or talks
to another server.
"""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.arguments import NOT_AN_INTEGER, SYNTAX_ERROR, at_least, integer
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Await, Effect, Failover, Follow, Unfollow
from kvserver.errors import CommandError
from kvserver.options.kinds import MAX_PORT
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.session import ServerState, Session
from kvserver.state.source import LinkState
from kvserver.types.timeouts import milliseconds

NO_WAIT: Final = (
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be "
    "writable (which is not the default) writes to replicas are just local and are not propagated."
)
NO_WAITAOF: Final = (
    "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not "
    "propagated."
)
NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
NOT_ONE: Final = "ERR value is out of range, value must between 0 and 1"
NONE_IN_PROGRESS: Final = "ERR No failover in progress."
IN_PROGRESS: Final = "ERR FAILOVER already in progress."
NOT_ABORTED: Final = "ERR the failover can't be aborted any more"
FROM_REPLICA: Final = "ERR FAILOVER is not valid when server is a replica."
NO_REPLICAS: Final = "ERR FAILOVER requires connected replicas."
NO_FORCE: Final = "ERR FAILOVER with force option requires both a timeout and target HOST and IP."
NO_TARGET: Final = "ERR FAILOVER target HOST and PORT is not a replica."
OFFLINE: Final = "ERR FAILOVER target replica is not online."
SEVERAL: Final = "ERR FAILOVER can't choose among several replicas: whichever is first takes over, and each has all data"
BAD_TIMEOUT: Final = "ERR FAILOVER timeout must be greater than 0"
BY_THE_LOG: Final = "ERR the log of the engine settles who leads: FAILOVER lets another node take over"
BAD_PORT: Final = "ERR Invalid master port"
FOLLOWED: Final = Simple("OK Already connected to specified master")


@command("role", "", "noscript loading stale fast",
         since="2.8.12", group="server", complexity="O(1)", categories="admin dangerous",
         summary="Return the role of the instance in the context of replication")  # fmt: skip
def role(session: Session, request: Request) -> Reply:
    facts = session.server.replication
    if facts.is_primary:
        return [b"master", facts.applied, [[node.host.encode(), b"%d" % node.port, b"%d" % node.applied]
                                           for node in facts.replicas]]  # fmt: skip
    if source := facts.source:
        offset = source.offset if source.state is LinkState.CONNECTED else -1
        return [b"slave", source.host.encode("utf-8", "surrogateescape"), source.port, source.state.value.encode(), offset]
    leader = facts.leader
    if leader is None:
        return [b"slave", b"", 0, b"connect", -1]
    state = b"connected" if facts.is_link_up else b"connecting"
    return [b"slave", leader.host.encode(), leader.port, state, facts.applied]


# WAIT and WAITAOF


class _Goal:
    """The entry that has all that was written before a call, and how far it has come."""

    def __init__(self, server: ServerState) -> None:
        self._facts = server.replication
        # What this tick has written is given to the log at the tick's end. Until then, its entry has no number.
        self._number = None if server.databases.records.has_any else self._facts.written()

    def seen(self) -> None:
        """Note that a tick has ended since."""
        if self._number is None:
            self._number = self._facts.written()

    @property
    def replicas(self) -> int:
        """The number of other nodes whose readers see it."""
        return 0 if self._number is None else self._facts.count_applied(self._number)

    @property
    def is_acknowledged(self) -> bool:
        """True if the engine has acknowledged it."""
        return self._number is not None and self._facts.applied >= self._number


@command("wait", "numreplicas:integer timeout:integer", "noscript",
         since="3.0.0", group="generic", complexity="O(1)", categories="connection",
         tips="request_policy:all_shards response_policy:agg_min",
         summary="Wait for the synchronous replication of all the write commands sent in the context of the current "
         "connection")  # fmt: skip
def wait(session: Session, request: Request) -> Reply | Effect:
    server = session.server
    if not server.replication.is_primary:
        raise CommandError(NO_WAIT)
    wanted, timeout_ms, goal = integer(request[1]), milliseconds(request[2]), _Goal(server)

    def attempt() -> Reply | None:
        goal.seen()
        return goal.replicas if goal.replicas >= wanted else None

    return goal.replicas if goal.replicas >= wanted else Await(timeout_ms, attempt, lambda: goal.replicas)


@command("waitaof", "numlocal:integer numreplicas:integer timeout:integer", "noscript",
         since="7.2.0", group="generic", complexity="O(1)", categories="connection",
         tips="request_policy:all_shards response_policy:agg_min",
         summary="Blocks until all of the preceding write commands sent by the connection are written to the append-only file "
         "of the master and/or replicas.",
         needs_engine=True)  # fmt: skip
def waitaof(session: Session, request: Request) -> Reply | Effect:
    server = session.server
    if not 0 <= (local := integer(request[1])) <= 1:
        raise CommandError(NOT_ONE)
    integer(request[2], NOT_AN_INTEGER)
    wanted, timeout_ms = at_least(0, request[2], NOT_POSITIVE), milliseconds(request[3])
    if not server.replication.is_primary:
        raise CommandError(NO_WAITAOF)
    goal = _Goal(server)

    def reached() -> Reply:
        return [int(goal.is_acknowledged), goal.replicas]

    def is_enough() -> bool:
        return goal.is_acknowledged >= local and goal.replicas >= wanted

    def attempt() -> Reply | None:
        goal.seen()
        return reached() if is_enough() else None

    return reached() if is_enough() else Await(timeout_ms, attempt, reached)


# FAILOVER and REPLICAOF


@command("failover", "TO=target{host port:integer FORCE=force:pure-token?}? ABORT=abort:pure-token? "
         "TIMEOUT=milliseconds:integer?", "admin noscript stale",
         since="6.2.0", group="server", complexity="O(1)",
         summary="Start a coordinated failover between this server and one of its replicas.")  # fmt: skip
def failover(session: Session, request: Request) -> Effect:
    # Redis reads its words by hand, too: FORCE may stand anywhere, and ABORT alone only.
    facts = session.server.replication
    target: tuple[str, int] | None = None
    timeout_ms, is_forced = 0, False
    words = request[:0:-1]
    while words:
        match words.pop().upper():
            case b"TIMEOUT" if words and not timeout_ms:
                timeout_ms = integer(words.pop())
                if timeout_ms <= 0:
                    raise CommandError(BAD_TIMEOUT)
            case b"ABORT" if len(request) == 2:
                raise CommandError(NOT_ABORTED if facts.is_yielding else NONE_IN_PROGRESS)
            case b"TO" if len(words) >= 2 and target is None:
                host = words.pop().decode("utf-8", "surrogateescape")
                target = host, integer(words.pop())
            case b"FORCE" if not is_forced:
                is_forced = True
            case _:
                raise CommandError(SYNTAX_ERROR)
    if facts.is_yielding:
        raise CommandError(IN_PROGRESS)
    if not facts.is_primary:
        raise CommandError(FROM_REPLICA)
    if not facts.replicas:
        raise CommandError(NO_REPLICAS)
    if is_forced and not (timeout_ms and target):
        raise CommandError(NO_FORCE)
    if target:
        _check_target(session, target)
    # Nobody waits for a replica that lags, so that there is nothing for a timeout to end, or to be forced.
    return Failover()


def _check_target(session: Session, target: tuple[str, int]) -> None:
    """Refuse a failover to a node that can't be the one to take over."""
    facts = session.server.replication
    found = [node for node in facts.others if (node.host, node.port) == target and not node.is_primary]
    if not found:
        raise CommandError(NO_TARGET)
    if not found[0].is_up:
        raise CommandError(OFFLINE)
    if len(facts.replicas) > 1:
        raise CommandError(SEVERAL)


_ARGS = "args<host-port{host port:integer}|no-one{NO ONE}>"


@command("replicaof", _ARGS, "admin noscript stale no_async_loading",
         since="5.0.0", group="server", complexity="O(1)",
         summary="Make the server a replica of another instance, or promote it as master.")  # fmt: skip
def replicaof(session: Session, request: Request) -> Reply | Effect:
    facts = session.server.replication
    if facts.is_shared:
        raise CommandError(BY_THE_LOG)
    if [word.lower() for word in request[1:]] == [b"no", b"one"]:
        return Unfollow() if facts.source else OK
    try:
        port = integer(request[2])
    except CommandError:
        port = -1
    if not 0 <= port <= MAX_PORT:
        raise CommandError(BAD_PORT)
    host, source = request[1].decode("utf-8", "surrogateescape"), facts.source
    if source and not source.has_given_up and (source.host.lower(), source.port) == (host.lower(), port):
        return FOLLOWED
    return Follow(host, port)


@command("slaveof", _ARGS, "admin noscript stale no_async_loading",
         since="1.0.0", group="server", complexity="O(1)", deprecated=("5.0.0", "`REPLICAOF`"),
         summary="Make the server a replica of another instance, or promote it as master.")  # fmt: skip
def slaveof(session: Session, request: Request) -> Reply | Effect:
    return replicaof.handler(session, request)
