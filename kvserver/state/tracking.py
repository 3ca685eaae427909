"""Client-side caching (CLIENT TRACKING): who tracks, and what they are told when keys change that they may hold. Pure.

A client that tracks has each key that it reads remembered, and is told once when that key is written; or, with BCAST, it is
told of all keys with some prefixes. As in Redis, a key is meant by its name alone, whatever its database is.

A write pays nothing for this: the records are looked through before and behind each command of a client that tracks, and
at the end of a tick, only while somebody tracks. So what was written before a read is told before its reply, and what is
written later is told behind it. Nothing here sends: `take` gives what is to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from kvserver.data.databases import Databases
from kvserver.data.recording import EMPTIED, EXPIRED
from kvserver.errors import CommandError
from kvserver.options.config import Config
from kvserver.resp.reply import Push, Reply, encode
from kvserver.resp.request import Request
from kvserver.state.channels import Message
from kvserver.state.description import Description
from kvserver.state.prefixes import Prefixes
from kvserver.state.readers import Readers

# The channel by which clients of RESP2 are told, in whose connection no push could stand.
CHANNEL: Final = b"__redis__:invalidate"
# A step forgets so many keys that somebody is to be told of.
TOLD_A_STEP: Final = 100
# Readers of a key who are gone are dropped when there are this many more than twice those who track.
MOST_GONE: Final = 64


class Mode(NamedTuple):
    """The options of CLIENT TRACKING ON. `redirect` is the id of the client that is told instead, or 0."""

    redirect: int = 0
    broadcasts: bool = False
    opts_in: bool = False
    opts_out: bool = False
    skips_own: bool = False


class Tracker:
    """The tracking of one client.

    - `prefixes` are those of BCAST. `is_chosen`: CLIENT CACHING said that the next command is one to track, with OPTIN, or
      is none, with OPTOUT. `is_broken`: the client that is told instead is gone.
    - `own` has the messages about what the client's own command has done, which come behind its reply.
    - `is_late`: replies with what the client has read are still to come, so all messages wait in `own` for these.
    """

    __slots__ = ("is_broken", "is_chosen", "is_late", "mode", "own", "prefixes")

    def __init__(self) -> None:
        self.mode = Mode()
        self.prefixes: set[bytes] = set()
        self.is_chosen = False
        self.is_broken = False
        self.is_late = False
        self.own: list[Message] = []

    @property
    def remembers(self) -> bool:
        """True if the keys that a command reads now are to be remembered."""
        mode = self.mode
        if mode.broadcasts:
            return False
        return self.is_chosen if mode.opts_in else not (mode.opts_out and self.is_chosen)


class Client(Protocol):
    """The part of a session that tracking needs."""

    id: int
    protocol: int
    tracker: Tracker | None

    @property
    def is_subscriber(self) -> bool: ...


Listener = TypeVar("Listener", bound=Client)


class Invalidation(Message):
    """The message that some keys have changed; None for all keys."""

    __slots__ = ("_keys",)

    def __init__(self, keys: list[bytes] | None) -> None:
        self._keys: Reply = None if keys is None else [*keys]
        super().__init__(Push([b"invalidate", self._keys]))

    def wire(self, protocol: int) -> bytes:
        return super().wire(3) if protocol == 3 else encode(Push([b"message", CHANNEL, self._keys]), 2)


class Tracking(Generic[Listener]):
    """The tracking of all clients of a server. `clients` are by their ids; `commands`, by lower-case name, tell keys of calls.

    `wake` is called, perhaps several times, when there is something to send outside of a tracking client's command.
    """

    def __init__(
        self,
        databases: Databases,
        commands: Mapping[bytes, Description],
        clients: Mapping[int, Listener],
        config: Config,
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._records = databases.records
        self._commands = commands
        self._clients = clients
        self._config = config
        # Those who track.
        self._trackers: dict[Listener, Tracker] = {}
        self._prefixes = Prefixes[Listener]()
        self._readers = Readers()
        # The position of the records up to which was looked through.
        self._looked = 0
        # What stands in no record: keys, or None for all, each with the position of the records then.
        self._beside: list[tuple[int, bytes | None]] = []
        # What is to be sent, in order.
        self._messages: list[tuple[Listener, Tracker, Message]] = []

    # Who tracks

    @property
    def client_count(self) -> int:
        """The number of clients that track."""
        return len(self._trackers)

    @property
    def key_count(self) -> int:
        """The number of keys that somebody may hold."""
        return len(self._readers)

    @property
    def item_count(self) -> int:
        """The number of pairs of a key and a client that may hold it."""
        return self._readers.item_count

    @property
    def prefix_count(self) -> int:
        """The number of prefixes that somebody is told of."""
        return len(self._prefixes)

    def enable(self, client: Listener, mode: Mode, prefixes: list[bytes]) -> None:
        """Let a client track, or track in another way. Prefixes are told beside those that it has."""
        # What was written before is no news for this client.
        self.look()
        if not self._trackers:
            self._looked = self._records.position
            self._records.attend(self)
        tracker = client.tracker
        if tracker is None:
            tracker = client.tracker = self._trackers[client] = Tracker()
        tracker.mode, tracker.is_broken = mode, False
        for prefix in prefixes:
            tracker.prefixes.add(prefix)
            self._prefixes.add(prefix, client)

    def disable(self, client: Listener) -> None:
        """Let a client track no more."""
        if client.tracker is None:
            return
        for prefix in client.tracker.prefixes:
            self._prefixes.remove(prefix, client)
        client.tracker = None
        del self._trackers[client]
        if not self._trackers:
            self._records.leave(self)
            self._beside = []
            self._readers.clear()

    # The commands of those who track

    def begin(self, client: Listener, *, in_transaction: bool) -> None:
        """Look at what was written before a client's command: by others, or by the transaction that it is part of."""
        self.look(client if in_transaction else None)
        self.trim()

    def remember(self, client: Listener, command: Description, request: Request) -> None:
        """Remember the keys of a call that has read for a client, if the client tracks them."""
        if client.tracker is None or not client.tracker.remembers:
            return
        # What the call itself has removed, since its time had come, is told as well.
        self.look(client)
        try:
            keys = command.keys_of(request)
        except CommandError:
            return
        for key, _ in keys:
            if self._readers.add(key, client.id) > MOST_GONE + 2 * len(self._trackers):
                self._readers.keep(key, self._is_tracking)

    def _is_tracking(self, number: int) -> bool:
        client = self._clients.get(number)
        return client is not None and client.tracker is not None

    def end(self, client: Listener, request: Request, *, in_transaction: bool) -> None:
        """Look at what a client's command has done, whose reply is there.

        What CLIENT CACHING has said is over then, but that commands of CLIENT and a transaction may stand in between.
        """
        self.look(client)
        tracker = client.tracker
        if tracker and not in_transaction and request[0].lower() != b"client":
            tracker.is_chosen = False

    # What is written

    def look(self, actor: Listener | None = None) -> None:
        """Note who is to be told of what was written since the last look, all of it by this client, if one is given.

        What a script that stands aside does is looked at when it has ended: until then nobody can read it.
        """
        if not self._trackers or (self._looked >= self._records.whole and not self._beside):
            return
        for key, by_itself in self._news():
            if key is None:
                self._tell_all(actor)
            else:
                self._tell(key, actor, None if by_itself else actor)

    def _news(self) -> Iterator[tuple[bytes | None, bool]]:
        """The keys that were written, or None for all, in order; and True for one that went since its time had come."""
        end, position = self._records.whole, self._records.position
        records = self._records.since(self._looked)
        first = position - len(records)
        self._looked = max(self._looked, end)
        beside = [each for each in self._beside if each[0] < end or end == position][::-1]
        self._beside = self._beside[len(beside) :]
        for at, (_, request) in enumerate(records[: max(0, end - first)], first):
            while beside and beside[-1][0] <= at:
                yield beside.pop()[1], False
            command = self._commands.get(request[0]) or self._commands.get(request[0].lower())
            by_itself = request[0] in (EXPIRED, EMPTIED)
            for key in command.watched_keys(request) if command else ():
                yield key, by_itself
        while beside:
            yield beside.pop()[1], False

    def _tell(self, key: bytes, actor: Listener | None, writer: Listener | None) -> None:
        """Note who is to be told of a key that a command of the actor led to. The writer may not want to know."""
        self._prefixes.note(key, writer)
        self._tell_readers(key, actor, writer)

    def _tell_readers(self, key: bytes, actor: Listener | None, writer: Listener | None) -> None:
        """Note that those who may hold a key are to be told, and forget that they may."""
        numbers = self._readers.pop(key)
        if not numbers:
            return
        message = Invalidation([key])
        for number in numbers:
            client = self._clients.get(number)
            if client is None or client.tracker is None or client.tracker.mode.broadcasts:
                continue
            if not (client is writer and client.tracker.mode.skips_own):
                self._send(client, client.tracker, message, actor)

    def _tell_all(self, actor: Listener | None) -> None:
        """Note that all who track are to be told that all keys have changed."""
        message = Invalidation(None)
        for client, tracker in self._trackers.items():
            self._send(client, tracker, message, actor)
        self._readers.clear()

    def _send(self, client: Listener, tracker: Tracker, message: Message, actor: Listener | None) -> None:
        if client is actor:
            tracker.own.append(message)
        else:
            self._messages.append((client, tracker, message))

    # What is to be sent

    def take(self) -> list[tuple[Listener, Message]]:
        """The messages to clients about what others have done, and their receivers, in order."""
        messages, self._messages = self._messages, []
        found: list[tuple[Listener, Message]] = []
        for client, tracker, message in messages:
            if tracker.is_late:
                tracker.own.append(message)
            else:
                found += self._received(client, tracker, message)
        return found

    def take_own(self, client: Listener, tracker: Tracker | None) -> list[tuple[Listener, Message]]:
        """The messages to a client about what its own command has done, which may have ended its tracking."""
        if tracker is None or not tracker.own:
            return []
        messages, tracker.own = tracker.own, []
        return [found for message in messages for found in self._received(client, tracker, message)]

    def take_all(self) -> list[tuple[Listener, Message]]:
        """`take`, and the messages of BCAST behind these: one for each prefix, with the keys in the order of their names."""
        self.look()
        for clients, written in self._prefixes.take():
            message = Invalidation([key for key, _ in written])
            for client in clients:
                tracker = client.tracker
                assert tracker
                if not tracker.mode.skips_own:
                    self._messages.append((client, tracker, message))
                elif others := [key for key, writer in written if writer is not client]:
                    self._messages.append((client, tracker, Invalidation(others)))
        return self.take()

    def _received(self, client: Listener, tracker: Tracker, message: Message) -> Iterator[tuple[Listener, Message]]:
        """A message to a client with its receiver, if anybody can receive it."""
        number = tracker.mode.redirect
        receiver = self._clients.get(number) if number else client
        if receiver is None:
            tracker.is_broken = True
            if client.protocol == 3:
                yield client, Message(Push([b"tracking-redir-broken", number]))
        elif receiver.protocol == 3 or (number and receiver.is_subscriber):
            yield receiver, message

    def _wake_if_needed(self) -> None:
        if self._messages or self._prefixes.has_news:
            self.wake()

    # The table

    def trim(self) -> bool:
        """Forget some keys where there are more than `tracking-table-max-keys`. True if there are still too many.

        Who may hold them is told as if they were written. The keys that were first read go first.
        """
        most, readers = self._config.tracking_table_max_keys, self._readers
        if not most or len(readers) <= most:
            return False
        for _ in range(min(len(readers) - most, TOLD_A_STEP)):
            self._tell_readers(readers.next_to_forget(), None, None)
        return len(readers) > most

    def tidy(self) -> bool:
        """Do a step of what there is to do now and then: free old tables, and trim. True if there was something."""
        if self._readers.free():
            return True
        is_too_long = self.trim()
        self._wake_if_needed()
        return is_too_long

    # The records and the keyspaces call these while somebody tracks (`data.records.Observer`)

    def before_taking(self) -> None:
        """Look at what was written, since it is about to be handed out."""
        self.look()
        self._wake_if_needed()

    def before_replacing(self, number: int) -> None:
        """Note that all keys change, since all data of a database is about to be replaced."""
        # Several databases may be replaced by one command.
        now = (self._records.position, None)
        if self._beside[-1:] != [now]:
            self._beside.append(now)
        # Data that was loaded is in no record.
        self.wake()

    def after_replacing(self, number: int) -> None:
        """Do nothing: `before_replacing` has told of the new data, too."""

    def wrote_beside(self, number: int, key: bytes) -> None:
        """Note a key that was written by a command of another database."""
        self._beside.append((self._records.position, key))
