"""Effects: data by which a handler asks the engine to do something, where a reply alone is not enough.

An effect says what is to be done and never does it. The classes are written by hand: to make as many dataclasses takes a
tenth of a server's start or more, and named tuples would pass for replies, some of which are tuples.
"""

from __future__ import annotations

from typing import get_args

from kvserver.data.shards import Shard
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.channels import Message
from kvserver.state.session import Pause, Session


class _Effect:
    """What all effects have in common: they are equal where kind and values are, and show their values."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Save(_Effect):
    """Flush, and reply when it is done."""


class BackgroundSave(_Effect):
    """Start a flush and reply at once; `schedule`: if one is running, another one after it."""

    __match_args__ = ("schedule",)

    def __init__(self, schedule: bool) -> None:
        self.schedule = schedule


class RewriteJournal(_Effect):
    """Start a flush with a new segment behind it, or have one follow the flush that is running."""


class Load(_Effect):
    """Replace the data by the last valid frame of the medium, and reply whether there was one."""


class Shutdown(_Effect):
    """Flush (None: as the configuration says) and leave."""

    __match_args__ = ("save", "force")

    def __init__(self, save: bool | None, force: bool) -> None:
        self.save = save
        self.force = force


class AbortShutdown(_Effect):
    """Go on serving although a shutdown has begun."""


class Crash(_Effect):
    """Append the first half of the present frame."""


class Close(_Effect):
    """Send the replies, then close the connection. `warning` is for the log."""

    __match_args__ = ("replies", "warning")

    def __init__(self, replies: tuple[Reply, ...], warning: str = "") -> None:
        self.replies = replies
        self.warning = warning


class Recognize(_Effect):
    """The session has authenticated, or is new again: have its connection take notice, and reply."""

    __match_args__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Switch(_Effect):
    """What the session is in has changed (`gate.is_plain`): look its next command up anew, and reply."""

    __match_args__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Execute(_Effect):
    """Run these requests with nothing in between, and reply with the array of their replies."""

    __match_args__ = ("requests",)

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests


class Publish(_Effect):
    """Send messages to other sessions, or this one, and reply."""

    __match_args__ = ("deliveries", "reply")

    def __init__(self, deliveries: list[tuple[Session, Message]], reply: Reply) -> None:
        self.deliveries = deliveries
        self.reply = reply


class Monitored(_Effect):
    """Show the line to all who monitor, behind the result."""

    __match_args__ = ("result", "line")

    def __init__(self, result: Reply | Effect | CommandError, line: bytes) -> None:
        self.result = result
        self.line = line


class Quiet(_Effect):
    """The result of a command whose reply is held back; pushes are not."""

    __match_args__ = ("result",)

    def __init__(self, result: Reply | Effect | CommandError) -> None:
        self.result = result


class Postpone(_Effect):
    """Run this command, and what is behind it, when the pause is over."""


class Hold(_Effect):
    """Begin a pause, or prolong it to this time (Unix milliseconds)."""

    __match_args__ = ("pause", "until_ms")

    def __init__(self, pause: Pause, until_ms: int) -> None:
        self.pause = pause
        self.until_ms = until_ms


class Resume(_Effect):
    """End the pause."""


class Kill(_Effect):
    """Close the connections of sessions, and reply; the own one, if it is among them, behind the reply."""

    __match_args__ = ("sessions", "reply")

    def __init__(self, sessions: list[Session], reply: Reply) -> None:
        self.sessions = sessions
        self.reply = reply


class Discard(_Effect):
    """Free the shards that the command of this name has dropped with so many keys, bit by bit, tell the log, and reply.

    With `flushes`, the reply comes when what is left is on the disk.
    """

    __match_args__ = ("name", "keys", "shards", "flushes")

    def __init__(self, name: str, keys: int, shards: list[Shard], flushes: bool) -> None:
        self.name = name
        self.keys = keys
        self.shards = shards
        self.flushes = flushes


class Reconfigure(_Effect):
    """Act on the options of these names, which have new values, and reply."""

    __match_args__ = ("names", "reply")

    def __init__(self, names: list[str], reply: Reply) -> None:
        self.names = names
        self.reply = reply


class Sleep(_Effect):
    """Run no command of anybody for so long (seconds), then reply."""

    __match_args__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class RewriteConfig(_Effect):
    """Write the present options to the file that the server was started with."""


Effect = (
    Save
    | BackgroundSave
    | RewriteJournal
    | Load
    | Shutdown
    | AbortShutdown
    | Crash
    | Close
    | Recognize
    | Switch
    | Execute
    | Publish
    | Monitored
    | Quiet
    | Postpone
    | Hold
    | Resume
    | Kill
    | Discard
    | Reconfigure
    | RewriteConfig
    | Sleep
)

EFFECTS = frozenset(get_args(Effect))
