"""What a handler asks the server to do where a reply alone is not enough. Data; the writer carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from kvserver.keyspace import Shard
from kvserver.resp.reply import Reply


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
    | Discard
    | Reconfigure
    | RewriteConfig
    | Sleep
)
