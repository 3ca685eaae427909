"""Session and server state: what commands know besides their arguments. Pure.

Handlers read and change both, connections note when a client was last heard of. Nothing here runs a command, or knows how
one is run: of commands the state has descriptions and counts. What a session has taken of the server, it gives back itself
(`leave`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from kvserver.data.keyspace import Keyspace
from kvserver.data.maxmemory import Memory
from kvserver.options.config import Config
from kvserver.resp.request import Request
from kvserver.state.channels import Channels
from kvserver.state.description import Description
from kvserver.state.latency import LatencyMonitor
from kvserver.state.slowlog import SlowLog
from kvserver.state.statistics import CLIENT_BYTES, Buffers, Counters, JournalFacts, PersistenceFacts, ProcessFacts, Rates
from kvserver.state.usage import Usages
from kvserver.state.watches import Watch, Watches

SERVER_VERSION = "7.0.15"  # the redis-server whose commands and texts these are: clients decide by it what to send

REPLAY_ID = 0  # of the journal's session; those of clients begin at 1


class Muted(Enum):
    """Which replies CLIENT REPLY holds back."""

    NONE = "on"
    NEXT = "skip"  # that of the command that comes next
    PRESENT = "skipping"  # that of the command that runs
    ALL = "off"


class Pause(Enum):
    """Which commands CLIENT PAUSE makes wait."""

    NONE = "none"
    WRITES = "write"
    ALL = "all"


class ServerState:
    """Everything that a command can see of the server."""

    def __init__(
        self,
        config: Config,
        keyspace: Keyspace,
        commands: Mapping[bytes, Description],  # by lower-case name
        now_ms: Callable[[], int],  # Unix time
        *,
        # A whole number from 0 to one below the argument, in a server each with the same chance.
        random_below: Callable[[int], int] = lambda bound: 0,
        now_us: Callable[[], int] = lambda: 0,  # Unix time in microseconds
        process_facts: Callable[[], ProcessFacts] = ProcessFacts,
        started_at_ms: int = 0,
        run_id: str = "",
        version: str = "",  # kvserver's own
    ) -> None:
        self.config = config
        self.keyspace = keyspace
        self.commands = commands
        self.usages = Usages(each.name for row in commands.values() for each in (row, *row.subcommands.values()))
        self.now_ms = now_ms
        self.random_below = random_below
        self.now_us = now_us
        self.process_facts = process_facts
        self.persistence = PersistenceFacts()
        self.journal = JournalFacts()
        self.counters = Counters()
        self.rates = Rates()
        self.sessions: dict[int, Session] = {}
        # What the connection of a session holds, and what those hold that hold anything.
        self.buffers_of: Callable[[int], Buffers] = lambda session_id: Buffers()
        self.held_buffers: Callable[[], list[Buffers]] = list
        self.slowlog = SlowLog()
        self.latency = LatencyMonitor()
        self.expires_actively = True  # keys are removed when their time has come, not only when they are looked at
        self.started_at_ms = started_at_ms
        self.attack_told_at_ms = 0  # when the log last told of one
        self.run_id = run_id
        self.version = version
        self.memory = Memory(keyspace, now_ms, random_below)
        self.channels: Channels[Session] = Channels()
        self.monitors: dict[int, Session] = {}
        self.pause = Pause.NONE  # which commands wait now
        self.watches = Watches(keyspace, commands)

    @property
    def clients_bytes(self) -> int:
        """What all connections hold, and what they take themselves."""
        held = self.held_buffers()
        return (len(self.sessions) - len(held)) * CLIENT_BYTES + sum(buffers.total_bytes for buffers in held)


class Transaction:
    """What MULTI has begun."""

    __slots__ = ("commands", "has_failed", "requests")

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.commands: set[Description] = set()  # that these call
        self.has_failed = False  # a command was refused, so that EXEC will be


class Session:
    """One client, from its connect to its close."""

    __slots__ = (
        "address",
        "authenticated",
        "channels",
        "connected_at_ms",
        "database",
        "descriptor",
        "id",
        "is_blocked",
        "is_executing",
        "is_local",
        "keyspace",
        "last_active_at_ms",
        "last_command",
        "lib_name",
        "lib_ver",
        "local_address",
        "muted",
        "name",
        "no_evict",
        "patterns",
        "protocol",
        "server",
        "shard_channels",
        "transaction",
        "watch",
    )

    def __init__(self, server: ServerState, session_id: int, address: str, local_address: str, is_local: bool) -> None:
        self.server = server
        self.keyspace = server.keyspace
        self.id = session_id
        self.address = address  # as CLIENT LIST prints it
        self.local_address = local_address
        self.is_local = is_local  # by loopback or a Unix socket
        self.descriptor = -1
        self.connected_at_ms = self.last_active_at_ms = server.now_ms()
        self.lib_name = self.lib_ver = b""
        self.last_command = b""  # of none yet
        self.database = 0
        self.is_blocked = False  # its command waits for the end of a pause
        self.is_executing = False  # its transaction runs
        self.no_evict = False
        self.transaction: Transaction | None = None
        self.watch: Watch | None = None
        # In the order in which they were subscribed to.
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.reset()

    @property
    def is_replay(self) -> bool:
        """Whether it is the journal's, whose commands were accepted once, whatever the limits are now."""
        return self.id == REPLAY_ID

    def reset(self) -> None:
        """What a new client has, and RESET gives back."""
        self.leave()
        self.name = b""
        self.protocol = 2
        self.authenticated = not self.server.config.requirepass
        self.muted = Muted.NONE

    @property
    def is_on_unix_socket(self) -> bool:
        return self.address.endswith(":0")  # where others have their port

    @property
    def is_subscriber(self) -> bool:
        """Of messages: it has other limits of unread replies, and no idle timeout."""
        return bool(self.channels or self.patterns or self.shard_channels)

    @property
    def is_resp2_subscriber(self) -> bool:
        """It is in a context of its own: in RESP2, messages can't be told from replies."""
        return self.protocol == 2 and self.is_subscriber

    def leave(self) -> None:
        """Let go of all that the server does for this session: what it has subscribed to, watches, monitors or queues."""
        self.end_transaction()
        channels = self.server.channels
        for names, subscriptions in (
            (self.channels, channels.channels),
            (self.patterns, channels.patterns),
            (self.shard_channels, channels.shard_channels),
        ):
            for name in names:
                subscriptions.remove(name, self)
        self.channels, self.patterns, self.shard_channels = {}, {}, {}
        self.server.monitors.pop(self.id, None)

    def end_transaction(self) -> None:
        """No MULTI any more, and nothing watched."""
        self.transaction = None
        self.unwatch()

    def unwatch(self) -> None:
        if self.watch:
            self.server.watches.remove(self.watch)
            self.watch = None
