"""The state of a server and of the session of each client: all that commands know besides their arguments. Pure.

Handlers read and change both, and connections note when a client was last heard of. Nothing here runs a command, or knows
how one is run: of commands the state has descriptions and counts. A session itself gives back what it has taken of the
server (`leave`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from kvserver.acl.catalogue import Catalogue
from kvserver.acl.denials import Denials
from kvserver.acl.user import User
from kvserver.acl.users import Users
from kvserver.compilation import mypyc_attr
from kvserver.data.databases import Databases
from kvserver.data.maxmemory import Memory
from kvserver.data.notes import Place
from kvserver.options.config import Config
from kvserver.resp.request import Request
from kvserver.state.channels import Channels
from kvserver.state.description import CATEGORIES, Description
from kvserver.state.latency import LatencyMonitor
from kvserver.state.notifications import Notifications
from kvserver.state.replication import ReplicationFacts
from kvserver.state.scripts import NoScripts, ScriptHost
from kvserver.state.slowlog import SlowLog
from kvserver.state.statistics import (
    CLIENT_BYTES,
    BackupFacts,
    Buffers,
    Counters,
    HistoryFacts,
    JournalFacts,
    PersistenceFacts,
    ProcessFacts,
    Rates,
)
from kvserver.state.tracking import Tracker, Tracking
from kvserver.state.usage import Usages
from kvserver.state.watches import Watch, Watches

# The version of the redis-server whose commands and texts these are: clients decide by it what they send.
SERVER_VERSION = "7.0.15"

# The id of the journal's session; those of clients begin at 1.
REPLAY_ID = 0
# That of the session in which a script's calls run.
SCRIPT_ID = -1
# That of the session in which the commands of a server run that this one follows.
SOURCE_ID = -2


class Muted(Enum):
    """The replies that CLIENT REPLY holds back: NEXT is that of the next command, PRESENT that of the command that runs."""

    NONE = "on"
    NEXT = "skip"
    PRESENT = "skipping"
    ALL = "off"


class Pause(Enum):
    """The commands that CLIENT PAUSE makes wait."""

    NONE = "none"
    WRITES = "write"
    ALL = "all"


# Tests have a state with more, which is interpreted in the compiled build, too.
@mypyc_attr(allow_interpreted_subclasses=True)
class ServerState:
    """Everything that a command can see of the server.

    - `commands` are by lower-case name. `now_ms` and `now_us` give the Unix time in milliseconds and in microseconds.
    - `random_below` gives a whole number from 0 to one below its argument, in a server each with the same chance.
    - `random_bytes` gives so many bytes, in a server such that nobody can guess.
    - `users` are those who may log in, and `denials` has what they were denied.
    - `version` is kvserver's own. `pause` tells which commands wait now.
    - `buffers_of` gives what the connection of a session holds, by the session's id; `held_buffers` gives that of all
      connections that hold anything.
    - `expires_actively`: keys are removed when their time has come, not only when a command meets them.
    - `reserved` has the keys, each with the number of its database, that one session alone may write while its command runs.
    - `attack_told_at_ms`: the time when the log last told of an attack over HTTP.
    """

    def __init__(
        self,
        config: Config,
        databases: Databases,
        commands: Mapping[bytes, Description],
        now_ms: Callable[[], int],
        *,
        random_below: Callable[[int], int] = lambda bound: 0,
        random_bytes: Callable[[int], bytes] = bytes,
        now_us: Callable[[], int] = lambda: 0,
        process_facts: Callable[[], ProcessFacts] = ProcessFacts,
        started_at_ms: int = 0,
        run_id: str = "",
        version: str = "",
    ) -> None:
        self.config = config
        self.databases = databases
        self.commands = commands
        self.usages = Usages(each.name for whole in commands.values() for each in (whole, *whole.subcommands.values()))
        self.now_ms = now_ms
        self.random_below = random_below
        self.random_bytes = random_bytes
        self.now_us = now_us
        self.process_facts = process_facts
        self.persistence = PersistenceFacts()
        self.journal = JournalFacts()
        self.backup = BackupFacts()
        self.history = HistoryFacts()
        self.replication = ReplicationFacts()
        self.counters = Counters()
        self.rates = Rates()
        self.users = Users(self._catalogue, lambda: config.acl_pubsub_default == "allchannels")
        self.users.default.set_password(config.requirepass)
        self.denials = Denials()
        self.sessions: dict[int, Session] = {}
        self.buffers_of: Callable[[int], Buffers] = lambda session_id: Buffers()
        self.held_buffers: Callable[[], list[Buffers]] = list
        self.slowlog = SlowLog()
        self.latency = LatencyMonitor()
        self.expires_actively = True
        self.started_at_ms = started_at_ms
        self.attack_told_at_ms = 0
        self.run_id = run_id
        self.version = version
        self.memory = Memory(databases, config, now_ms, random_below)
        self.channels: Channels[Session] = Channels()
        self.notifications: Notifications[Session] = Notifications(databases, commands, self.channels)
        self.monitors: dict[int, Session] = {}
        self.pause = Pause.NONE
        self.reserved: dict[Place, Session] = {}
        # The same by the ids of the sessions.
        self._reservations: dict[int, list[Place]] = {}
        self.watches = Watches(databases, commands)
        self.tracking: Tracking[Session] = Tracking(databases, commands, self.sessions, config)
        self.scripts: ScriptHost[Session] = NoScripts()

    def _catalogue(self) -> Catalogue:
        """The commands for the rules of users."""
        every = [each for whole in self.commands.values() for each in (whole, *whole.subcommands.values())]
        return Catalogue({each.name: each.categories for each in every}, CATEGORIES)

    def note_rights(self, user: User) -> None:
        """Have all sessions take notice that a user has other rules now."""
        for session in self.sessions.values():
            # All that have not logged in are the default user.
            if session.user is user:
                session.note_rights()

    def log_out(self, users: list[User]) -> list[Session]:
        """The sessions of users that are gone, each of which is the default user from now on, and has not logged in."""
        found = [session for session in self.sessions.values() if session.user in users]
        for session in found:
            session.be(self.users.default, has_logged_in=False)
        return found

    def take_users(self, before: ServerState) -> None:
        """Have the users of the same server's state before, and what they were denied."""
        self.users.take(before.users)
        self.denials = before.denials

    def reserve(self, session: Session, keys: Iterable[bytes]) -> None:
        """Let nobody else write these keys of the session's database until `release`, and no others any more."""
        self.release(session)
        places = [(session.keyspace.number, key) for key in keys]
        if places:
            self._reservations[session.id] = places
            self.reserved |= dict.fromkeys(places, session)

    def has_reserved(self, session: Session) -> bool:
        """Return True if the session has reserved keys."""
        return session.id in self._reservations

    def release(self, session: Session) -> None:
        """Let others write again what the session has reserved."""
        for place in self._reservations.pop(session.id, ()):
            self.reserved.pop(place, None)

    def swap(self, first: int, second: int, caller: Session) -> None:
        """Let two databases change places, for all sessions: for the caller's, too, though it may be that of the journal."""
        one, other = self.databases[first], self.databases[second]
        self.databases.swap(first, second)
        places = {one: other, other: one}
        for session in {caller.id: caller, **self.sessions}.values():
            session.keyspace = places.get(session.keyspace, session.keyspace)

    def reset_statistics(self) -> None:
        """Count from zero again what INFO tells the counts of."""
        self.usages.reset()
        self.counters.reset()
        for data in self.databases:
            data.expired = data.evicted = data.hits = data.misses = data.missed_gets = 0
        self.journal.delayed_syncs = self.journal.rewrites = self.journal.rewrites_failed = 0

    @property
    def clients_bytes(self) -> int:
        """The bytes that all connections take, with all that they hold."""
        held = self.held_buffers()
        return (len(self.sessions) - len(held)) * CLIENT_BYTES + sum(buffers.total_bytes for buffers in held)


class Transaction:
    """A transaction that MULTI has begun.

    `requests` are the calls that are queued, and `commands` those that they call. `has_failed`: a call was refused, so EXEC
    will fail.
    """

    __slots__ = ("commands", "has_failed", "requests")

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.commands: set[Description] = set()
        self.has_failed = False


class Session:
    """One client, from its connect to its close.

    - `user` is who it has logged in as; until then it is the default user. `authenticated`: AUTH is not needed, or was given.
      `is_unrestricted`: it is authenticated, and its user may do everything.
    - `address` is as CLIENT LIST prints it. `is_local`: the client came by the loopback address or a Unix socket.
    - `is_blocked`: its blocking command waits. `is_postponed`: its command waits for the end of a pause. `is_executing`: its
      transaction runs, which has `executing_count` calls.
    - `last_command` is the name of the last command, as it was spelled, or empty.
    - `keyspace` is that of the database that the client has selected.
    - `channels`, `patterns` and `shard_channels` are in the order in which they were subscribed to.
    - `tracker` is there while the client tracks keys (`server.tracking`).
    """

    __slots__ = (
        "address",
        "authenticated",
        "channels",
        "connected_at_ms",
        "descriptor",
        "executing_count",
        "has_logged_in",
        "id",
        "is_blocked",
        "is_executing",
        "is_local",
        "is_postponed",
        "is_unrestricted",
        "keyspace",
        "last_active_at_ms",
        "last_command",
        "lib_name",
        "lib_ver",
        "local_address",
        "muted",
        "name",
        "no_evict",
        "no_touch",
        "patterns",
        "protocol",
        "ready",
        "server",
        "shard_channels",
        "tracker",
        "transaction",
        "user",
        "watch",
    )

    def __init__(self, server: ServerState, session_id: int, address: str, local_address: str, is_local: bool) -> None:
        self.server = server
        self.id = session_id
        self.address = address
        self.local_address = local_address
        self.is_local = is_local
        self.descriptor = -1
        self.connected_at_ms = self.last_active_at_ms = server.now_ms()
        self.lib_name = self.lib_ver = b""
        self.last_command = b""
        self.is_blocked = False
        self.is_postponed = False
        self.is_executing = False
        self.executing_count = 0
        self.no_evict = False
        # What was worked out ahead for a request that is to run.
        self.ready: tuple[Request, object] | None = None
        self.transaction: Transaction | None = None
        self.watch: Watch | None = None
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.tracker: Tracker | None = None
        self.reset()

    @property
    def is_replay(self) -> bool:
        """True for a session whose commands were accepted once, by this server or by a source, whatever the limits are now."""
        return self.id in (REPLAY_ID, SOURCE_ID)

    @property
    def is_journal(self) -> bool:
        """True for the journal's session: nobody is told of what its commands do, which were told of once."""
        return self.id == REPLAY_ID

    @property
    def may_wait(self) -> bool:
        """True if a command of this session may run later: it is a client's, and not in a transaction."""
        return not self.is_executing and self.id > REPLAY_ID

    def take_ready(self, request: Request) -> object:
        """What was worked out ahead for this request, which is given once; None if nothing was."""
        ready = self.ready
        if ready is None or ready[0] is not request:
            return None
        self.ready = None
        return ready[1]

    def reset(self) -> None:
        """Put the session into the state of a new client's, as RESET does."""
        self.leave()
        self.name = b""
        self.protocol = 2
        self.be(self.server.users.default, has_logged_in=self.server.users.default.is_open)
        self.muted = Muted.NONE
        self.no_touch = False
        self.keyspace = self.server.databases[0]

    def be(self, user: User, *, has_logged_in: bool = True) -> None:
        """Be this user from now on."""
        self.user = user
        self.has_logged_in = has_logged_in
        self.note_rights()

    def note_rights(self) -> None:
        """Take notice that the user has other rules now, perhaps."""
        default = self.server.users.default
        # As in Redis, AUTH is asked for where the default user is off or has a password, even if it was not so before.
        self.authenticated = self.has_logged_in or default.is_open
        self.is_unrestricted = self.authenticated and self.user.is_unrestricted

    @property
    def is_on_unix_socket(self) -> bool:
        """True if the client came by a Unix socket, whose address ends with the port 0."""
        return self.address.endswith(":0")

    @property
    def is_subscriber(self) -> bool:
        """True if the client has subscribed to something: it has other limits of unread replies, and no idle timeout."""
        return bool(self.channels or self.patterns or self.shard_channels)

    @property
    def is_resp2_subscriber(self) -> bool:
        """True for a subscriber whose commands are restricted: in RESP2, messages can't be told from replies."""
        return self.protocol == 2 and self.is_subscriber

    def leave(self) -> None:
        """Give back all that the server does for this session: subscriptions, watches, monitoring, and the transaction.

        It tracks no keys any more, either, and what was worked out ahead for it is dropped.
        """
        self.ready = None
        self.end_transaction()
        self.server.tracking.disable(self)
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
        """Drop what MULTI has queued, and all watches."""
        self.transaction = None
        self.unwatch()

    def unwatch(self) -> None:
        """Drop all watches."""
        if self.watch:
            self.server.watches.remove(self.watch)
            self.watch = None
