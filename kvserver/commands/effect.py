"""What a handler asks the server to do where a reply alone is not enough. Data; the writer carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvserver.channels import Message
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.shards import Shard

if TYPE_CHECKING:
    from kvserver.commands.row import Handler
    from kvserver.session import Pause, Session


@dataclass(frozen=True)
class Save:
    """Flush, and reply when it is done."""


@dataclass(frozen=True)
class BackgroundSave:
    """Start a flush and reply at once; `schedule`: if one is running, another one after it."""

    schedule: bool


@dataclass(frozen=True)
class RewriteJournal:
    """Start a flush with a new segment behind it, or have one follow the flush that is running."""


@dataclass(frozen=True)
class Load:
    """Replace the data by the last valid frame of the medium, and reply whether there was one."""


@dataclass(frozen=True)
class Shutdown:
    """Flush (None: as the configuration says) and leave."""

    save: bool | None
    force: bool


@dataclass(frozen=True)
class AbortShutdown:
    """Go on serving although a shutdown has begun."""


@dataclass(frozen=True)
class Crash:
    """Append the first half of the present frame."""


@dataclass(frozen=True)
class Close:
    """Send the replies, then close the connection. `warning` is for the log."""

    replies: tuple[Reply, ...]
    warning: str = ""


@dataclass(frozen=True)
class Recognize:
    """The session has authenticated, or is new again: look its next command up in the table that is right for it."""

    reply: Reply


@dataclass(frozen=True)
class Switch:
    """What the session is in has changed (`Session.standing`): look its next command up anew, and reply."""

    reply: Reply


@dataclass(frozen=True)
class Execute:
    """Run these commands with nothing in between, and reply with the array of their replies."""

    commands: list[tuple[Handler, list[bytes]]]


@dataclass(frozen=True)
class Publish:
    """Send messages to other sessions, or this one, and reply."""

    deliveries: list[tuple[Session, Message]]
    reply: Reply


@dataclass(frozen=True)
class Monitored:
    """Show the line to all who monitor, behind the result."""

    result: Reply | Effect | CommandError
    line: bytes


@dataclass(frozen=True)
class Quiet:
    """The result of a command whose reply is held back; pushes are not."""

    result: Reply | Effect | CommandError


@dataclass(frozen=True)
class Postpone:
    """Run this command, and what is behind it, when the pause is over."""


@dataclass(frozen=True)
class Hold:
    """Begin a pause, or prolong it to this time (Unix milliseconds)."""

    pause: Pause
    until_ms: int


@dataclass(frozen=True)
class Resume:
    """End the pause."""


@dataclass(frozen=True)
class Kill:
    """Close the connections of sessions, and reply; the own one, if it is among them, behind the reply."""

    sessions: list[Session]
    reply: Reply


@dataclass(frozen=True)
class Discard:
    """Free these shards bit by bit, and reply."""

    shards: list[Shard]
    reply: Reply


@dataclass(frozen=True)
class Reconfigure:
    """Act on the options of these names, which have new values, and reply."""

    names: list[str]
    reply: Reply


@dataclass(frozen=True)
class Sleep:
    """Run no command of anybody for so long (seconds), then reply."""

    seconds: float


@dataclass(frozen=True)
class RewriteConfig:
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

WAITING = (Save, Load, Crash, Shutdown, Sleep, RewriteConfig)  # what takes a while, so that its client waits for it
