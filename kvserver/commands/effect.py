"""What a handler asks the server to do where a reply alone is not enough. Data; the writer carries it out."""

from __future__ import annotations

import inspect
from typing import Any, dataclass_transform, get_args

from kvserver.data.shards import Shard
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.state.channels import Message
from kvserver.state.session import Pause, Session


@dataclass_transform(frozen_default=True)
class _Effect:
    """Makes its subclasses what frozen dataclasses are, to a type checker and to who uses them.

    But in some microseconds each, where `dataclass` compiles code for half a millisecond: of a server's start, a tenth.
    """

    __match_args__: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(inspect.get_annotations(cls))  # type: ignore[misc]  # mypy has made them, too

    def __init__(self, *values: Any, **by_name: Any) -> None:
        given = dict(zip(self.__match_args__, values, strict=False)) | by_name
        missing = {name for name in self.__match_args__ if name not in given and not hasattr(type(self), name)}
        if missing or len(given) < len(values) + len(by_name) or not given.keys() <= set(self.__match_args__):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self.__match_args__) or 'nothing'}")
        self.__dict__.update(given)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        fields = zip(self.__match_args__, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)


class Save(_Effect):
    """Flush, and reply when it is done."""


class BackgroundSave(_Effect):
    """Start a flush and reply at once; `schedule`: if one is running, another one after it."""

    schedule: bool


class RewriteJournal(_Effect):
    """Start a flush with a new segment behind it, or have one follow the flush that is running."""


class Load(_Effect):
    """Replace the data by the last valid frame of the medium, and reply whether there was one."""


class Shutdown(_Effect):
    """Flush (None: as the configuration says) and leave."""

    save: bool | None
    force: bool


class AbortShutdown(_Effect):
    """Go on serving although a shutdown has begun."""


class Crash(_Effect):
    """Append the first half of the present frame."""


class Close(_Effect):
    """Send the replies, then close the connection. `warning` is for the log."""

    replies: tuple[Reply, ...]
    warning: str = ""


class Recognize(_Effect):
    """The session has authenticated, or is new again: look its next command up in the table that is right for it."""

    reply: Reply


class Switch(_Effect):
    """What the session is in has changed (`Session.standing`): look its next command up anew, and reply."""

    reply: Reply


class Execute(_Effect):
    """Run these requests with nothing in between, and reply with the array of their replies."""

    requests: list[list[bytes]]


class Publish(_Effect):
    """Send messages to other sessions, or this one, and reply."""

    deliveries: list[tuple[Session, Message]]
    reply: Reply


class Monitored(_Effect):
    """Show the line to all who monitor, behind the result."""

    result: Reply | Effect | CommandError
    line: bytes


class Quiet(_Effect):
    """The result of a command whose reply is held back; pushes are not."""

    result: Reply | Effect | CommandError


class Postpone(_Effect):
    """Run this command, and what is behind it, when the pause is over."""


class Hold(_Effect):
    """Begin a pause, or prolong it to this time (Unix milliseconds)."""

    pause: Pause
    until_ms: int


class Resume(_Effect):
    """End the pause."""


class Kill(_Effect):
    """Close the connections of sessions, and reply; the own one, if it is among them, behind the reply."""

    sessions: list[Session]
    reply: Reply


class Discard(_Effect):
    """Free these shards bit by bit, tell the log of it, and reply; `flushes`: when what is left is on the disk."""

    name: str  # of the command
    keys: int  # that it has dropped
    shards: list[Shard]
    flushes: bool


class Reconfigure(_Effect):
    """Act on the options of these names, which have new values, and reply."""

    names: list[str]
    reply: Reply


class Sleep(_Effect):
    """Run no command of anybody for so long (seconds), then reply."""

    seconds: float


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
