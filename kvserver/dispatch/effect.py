"""Effects: data by which a handler asks the engine to do something, where a reply alone is not enough. Pure.

An effect says what is to be done and never does it: `engine.results` carries out what concerns clients, `engine.jobs` what
needs the data as a whole, the disk or the server. The classes are written by hand: to make as many dataclasses takes a
tenth of a server's start or more, and named tuples would pass for replies, some of which are tuples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, get_args

from kvserver.data.entries import Value
from kvserver.data.shards import Shard
from kvserver.errors import CommandError
from kvserver.formats.moment import Moment
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.channels import Message
from kvserver.state.session import Pause, Session


class _Effect:
    """The base of all effects. Two are equal if their classes and values are; `repr` shows the values."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Save(_Effect):
    """Flush, and reply OK when that is done."""


class BackgroundSave(_Effect):
    """Start a flush and reply at once; with `schedule`, after a rewrite of the journal that is running."""

    __match_args__ = ("schedule",)

    def __init__(self, schedule: bool) -> None:
        self.schedule = schedule


class RewriteJournal(_Effect):
    """Start a flush with a new segment behind it, or have one follow the flush that is running."""


class Load(_Effect):
    """Replace the data by the last valid frame of the medium, and reply True if there was one."""


class Shutdown(_Effect):
    """Flush, unless `save` is False, and leave; with `force`, leave although the flush has failed."""

    __match_args__ = ("save", "force")

    def __init__(self, save: bool | None, force: bool) -> None:
        self.save = save
        self.force = force


class Crash(_Effect):
    """Append the first half of the present frame to the medium, as a server that crashes would."""


class Reload(_Effect):
    """Replace the data by the last valid frame, which with `saves` is one of the present data, and reply OK.

    No command of any client runs meanwhile.
    """

    __match_args__ = ("saves",)

    def __init__(self, saves: bool) -> None:
        self.saves = saves


class Log(_Effect):
    """Write a text to the log as a warning, and reply OK."""

    __match_args__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Close(_Effect):
    """Send the replies, then close the connection. A `warning` that is not empty is logged."""

    __match_args__ = ("replies", "warning")

    def __init__(self, replies: tuple[Reply, ...], warning: str = "") -> None:
        self.replies = replies
        self.warning = warning


class Recognize(_Effect):
    """Have the connection take notice that its session has authenticated or was reset, and reply."""

    __match_args__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Switch(_Effect):
    """Look the session's next command up anew, since what `gate.is_plain` tells of it may have changed, and reply."""

    __match_args__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Execute(_Effect):
    """Run these requests with nothing in between, and reply with the array of their replies."""

    __match_args__ = ("requests",)

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests


class Publish(_Effect):
    """Send messages to other sessions, or to this one, and reply."""

    __match_args__ = ("deliveries", "reply")

    def __init__(self, deliveries: list[tuple[Session, Message]], reply: Reply) -> None:
        self.deliveries = deliveries
        self.reply = reply


class Notified(_Effect):
    """Send messages to other sessions, or to this one, then carry on with the result."""

    __match_args__ = ("result", "deliveries")

    def __init__(self, result: Reply | Effect | CommandError, deliveries: list[tuple[Session, Message]]) -> None:
        self.result = result
        self.deliveries = deliveries


class Monitored(_Effect):
    """Carry on with the result, then show the call to all monitors (`gate.monitor_line`)."""

    __match_args__ = ("result",)

    def __init__(self, result: Reply | Effect | CommandError) -> None:
        self.result = result


class Quiet(_Effect):
    """Carry on with the result of a command whose reply is held back by CLIENT REPLY; pushes are sent."""

    __match_args__ = ("result",)

    def __init__(self, result: Reply | Effect | CommandError) -> None:
        self.result = result


class Tracked(_Effect):
    """Carry on with the result of a command of a client that tracks keys, and send what it is to be told of these.

    What others have done comes before the reply, and what the command itself has done behind it.
    """

    __match_args__ = ("result",)

    def __init__(self, result: Reply | Effect | CommandError) -> None:
        self.result = result


class Block(_Effect):
    """Wait until one of the keys of the session's database is written or removed, and `attempt` then gives a result for it.

    `attempt` may raise CommandError, which is the reply then; it gives None while there is nothing for the caller. Where
    `kind` is the name of a data type, there is something for all who wait by it or for none, so that one asks the first of
    them only. After `timeout_ms`, unless that is 0, the reply is `otherwise`; in a transaction or a script, which never wait,
    it is that at once.
    """

    __match_args__ = ("keys", "timeout_ms", "attempt", "otherwise", "kind")

    def __init__(
        self,
        keys: list[bytes],
        timeout_ms: int,
        attempt: Callable[[bytes], Reply | Effect | None],
        otherwise: Reply,
        kind: str = "",
    ) -> None:
        self.keys = keys
        self.timeout_ms = timeout_ms
        self.attempt = attempt
        self.otherwise = otherwise
        self.kind = kind


class Await(_Effect):
    """Wait until `attempt` gives a reply: it is asked whenever an entry was acknowledged, or another node has told of itself.

    After `timeout_ms`, unless that is 0, the reply is what `otherwise` gives then; in a transaction it is that at once.
    """

    __match_args__ = ("timeout_ms", "attempt", "otherwise")

    def __init__(self, timeout_ms: int, attempt: Callable[[], Reply | None], otherwise: Callable[[], Reply]) -> None:
        self.timeout_ms = timeout_ms
        self.attempt = attempt
        self.otherwise = otherwise


class Transfer(NamedTuple):
    """What has become of a `Migrate`.

    - `greeted` has the replies to the greeting, and `restored` the keys that were sent and answered, each with its reply.
      A reply is a line without its end, such as `+OK`.
    - `failed_at` is empty, or the step that failed: "connecting", "writing" or "reading".
    """

    greeted: list[bytes]
    restored: list[tuple[bytes, bytes]]
    failed_at: str


class Migrate(_Effect):
    """Send keys to another server, and reply what `finish` gives for what has become of that.

    First the requests of the greeting are sent, then those that restore the keys: an iterator makes each, with its key, when
    it can be sent. No step takes longer than the timeout, or it fails. Until the end, calls of others that would write the
    keys of the session's database wait; `finish` runs within a tick, and may raise CommandError.
    """

    __match_args__ = ("host", "port", "timeout_ms", "keys", "greeting", "restores", "finish")

    def __init__(
        self,
        host: str,
        port: int,
        timeout_ms: int,
        keys: list[bytes],
        greeting: list[Request],
        restores: Iterator[tuple[bytes, Request]],
        finish: Callable[[Transfer], Reply],
    ) -> None:
        self.host = host
        self.port = port
        self.timeout_ms = timeout_ms
        self.keys = keys
        self.greeting = greeting
        self.restores = restores
        self.finish = finish


class Unblock(_Effect):
    """End the wait of a session by its `otherwise`, or by an error, and reply."""

    __match_args__ = ("session", "error", "reply")

    def __init__(self, session: Session, error: str, reply: Reply) -> None:
        self.session = session
        self.error = error
        self.reply = reply


class Released(_Effect):
    """Carry on with the result of a command whose steps were taken ahead, then drop what is left of these.

    Others may write its keys again then. While it has yet to run, all stays as it is.
    """

    __match_args__ = ("result",)

    def __init__(self, result: Reply | Effect | CommandError) -> None:
        self.result = result


class Fed(_Effect):
    """Carry on with the result, then serve those who wait for what was written."""

    __match_args__ = ("result",)

    def __init__(self, result: Reply | Effect | CommandError) -> None:
        self.result = result


class Postpone(_Effect):
    """Run this command, and what is behind it, when the pause is over."""


class Prepare(Postpone):
    """Run this command, and what is behind it, in a tick in which scripts can stand aside."""


class Ahead(Postpone):
    """Take these steps between the commands of others, then run this command, and what is behind it.

    The command finds what the steps return by `session.take_ready`. One that may not wait (`session.may_wait`) asks for none.
    From the first step until it has run, calls of others that would write these keys of the session's database wait.
    """

    __match_args__ = ("steps", "keys")

    def __init__(self, steps: Generator[None, None, object], keys: list[bytes]) -> None:
        self.steps = steps
        self.keys = keys


class Fetch(Postpone):
    """Fetch the keys of the selected database that matched a pattern at a moment, then run this command and what is behind it.

    The command finds a `Fetched`, or the CommandError that says why there is none, by `session.take_ready`.
    """

    __match_args__ = ("moment", "pattern")

    def __init__(self, moment: Moment, pattern: bytes) -> None:
        self.moment = moment
        self.pattern = pattern


class Recreated(NamedTuple):
    """A value that is independent of any others, its expiry (Unix milliseconds) or None, and the requests that store it."""

    value: Value
    expires_at_ms: int | None
    requests: list[Request]


class Fetched(ABC):
    """What a Fetch has found. `count` is the number of keys that matched then, and that are not due by now."""

    count: int

    @abstractmethod
    def changes(self) -> dict[bytes, Recreated | None] | None:
        """The keys that are not what they were, each as it was, or None if it was not there or is due by now.

        It is asked once, when the command runs. None if they have to be fetched anew. CommandError if they are too many.
        """


class BeginPause(_Effect):
    """Begin a pause, or prolong it to this time (Unix milliseconds)."""

    __match_args__ = ("pause", "until_ms")

    def __init__(self, pause: Pause, until_ms: int) -> None:
        self.pause = pause
        self.until_ms = until_ms


class EndPause(_Effect):
    """End the pause."""


class Kill(_Effect):
    """Close the connections of sessions, and reply. The session's own connection, if it is among these, closes after that."""

    __match_args__ = ("sessions", "reply")

    def __init__(self, sessions: list[Session], reply: Reply) -> None:
        self.sessions = sessions
        self.reply = reply


class ChangeRights(_Effect):
    """Kill the clients of these sessions, whose users may do less or are gone, and reply.

    With `concerns_all`, all clients may be authenticated now that were not, or the other way round.
    """

    __match_args__ = ("sessions", "reply", "concerns_all")

    def __init__(self, sessions: list[Session], reply: Reply, concerns_all: bool = False) -> None:
        self.sessions = sessions
        self.reply = reply
        self.concerns_all = concerns_all


class LoadUsers(_Effect):
    """Replace all users by those of the file, and reply OK."""


class SaveUsers(_Effect):
    """Write all users to the file, and reply OK."""


class ListFrames(_Effect):
    """Reply with the frames that can be gone back to."""


class LookBack(_Effect):
    """Run a call that reads on the data as it was at a moment, in the database that the session has selected, and reply."""

    __match_args__ = ("moment", "request")

    def __init__(self, moment: Moment, request: Request) -> None:
        self.moment = moment
        self.request = request


class GoBack(_Effect):
    """Let all data be what it was at a moment, and reply with the number of keys."""

    __match_args__ = ("moment",)

    def __init__(self, moment: Moment) -> None:
        self.moment = moment


class TellChanges(_Effect):
    """Reply with what was written to a key of the selected database, the newest first, `count` records at the most."""

    __match_args__ = ("key", "count")

    def __init__(self, key: bytes, count: int) -> None:
        self.key = key
        self.count = count


class Compare(_Effect):
    """Reply with the keys of the selected database that match a pattern and are not the same at two moments."""

    __match_args__ = ("first", "second", "pattern")

    def __init__(self, first: Moment, second: Moment, pattern: bytes) -> None:
        self.first = first
        self.second = second
        self.pattern = pattern


class FreeShards(_Effect):
    """Free, bit by bit, the shards with so many keys that the command `name` has dropped, log it, and reply OK.

    With `flushes`, the reply comes when a flush has the data without these keys.
    """

    __match_args__ = ("name", "keys", "shards", "flushes")

    def __init__(self, name: str, keys: int, shards: list[Shard], flushes: bool) -> None:
        self.name = name
        self.keys = keys
        self.shards = shards
        self.flushes = flushes


class Reconfigure(_Effect):
    """Act on the options of these names, which have new values, and reply; with an error, if that fails."""

    __match_args__ = ("names", "reply")

    def __init__(self, names: list[str], reply: Reply) -> None:
        self.names = names
        self.reply = reply


class Sleep(_Effect):
    """Run no command of any client for so many seconds, then reply OK."""

    __match_args__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class MoveClock(_Effect):
    """Move the server's clock forward by so many seconds, or to the system's time if they are None, then reply OK."""

    __match_args__ = ("seconds",)

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class Failover(_Effect):
    """Begin to let another node lead, and reply OK at once: the connections end when that is done."""


class Follow(_Effect):
    """Follow the server at this host and port: this one takes no more writes, and has that one's data. Reply OK at once."""

    __match_args__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port


class Unfollow(_Effect):
    """Follow no server any more, take writes, and reply OK."""


class RewriteConfig(_Effect):
    """Write the present options to the file that the server was started with, and reply OK."""


Effect = (
    Save
    | BackgroundSave
    | RewriteJournal
    | Load
    | Shutdown
    | Crash
    | Reload
    | Log
    | Close
    | Recognize
    | Switch
    | Execute
    | Publish
    | Notified
    | Monitored
    | Quiet
    | Tracked
    | Block
    | Await
    | Migrate
    | Unblock
    | Released
    | Fed
    | Postpone
    | Prepare
    | Ahead
    | Fetch
    | BeginPause
    | EndPause
    | Kill
    | ChangeRights
    | LoadUsers
    | SaveUsers
    | ListFrames
    | LookBack
    | GoBack
    | TellChanges
    | Compare
    | FreeShards
    | Reconfigure
    | MoveClock
    | Failover
    | Follow
    | Unfollow
    | RewriteConfig
    | Sleep
)

EFFECTS = frozenset(get_args(Effect))
