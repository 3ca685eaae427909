"""The options of a server whose data is in an engine: which others they exclude, and what they change of the defaults.

This module opens no engine. What a URL means is for the kind of engine to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kvserver.errors import ConfigError
from kvserver.options.retention import Retention

# An acknowledged write has to survive the node that has acknowledged it, or the engine would be there for nothing.
APPENDFSYNC = "always"
NEEDS_JOURNAL = "the engine of medium has the data in its journal, so that appendonly stays yes"
TOLD_ADDRESS = "other nodes were told this address for clients; {} would stand for it"
NEEDS_NO_SOURCE = "medium is given, too: the nodes of an engine follow its log"
NEEDS_NO_HISTORY = "medium is given, too: a history is that of a directory"
NEEDS_NO_DIR = "medium is given, too: the data is in a directory, or in an engine"


class JournalOptions(Protocol):
    """What a Config says of the journal."""

    appendonly: bool
    appendfsync: str
    replicaof: str
    history: Retention


class AddressOptions(Protocol):
    """What a Config says of where others reach the server."""

    announce_ip: str
    announce_port: int


def settle_engine(config: JournalOptions, origins: Mapping[str, str]) -> None:
    """Give the options of a server that has a medium the defaults which they have there.

    `origins` tell of each option that was given how and where it was written. ConfigError for options that exclude each other.
    """
    if "dir" in origins:
        raise ConfigError(f"{origins['dir']}: {NEEDS_NO_DIR}")
    if config.replicaof:
        raise ConfigError(f"{origins['replicaof']}: {NEEDS_NO_SOURCE}")
    if config.history.is_any:
        raise ConfigError(f"{origins['history']}: {NEEDS_NO_HISTORY}")
    if not config.appendonly:
        raise ConfigError(f"{origins['appendonly']}: {NEEDS_JOURNAL}")
    if "appendfsync" not in origins:
        config.appendfsync = APPENDFSYNC


def needed_by_engine(name: str, config: AddressOptions) -> str:
    """The reason why a server that has a medium can't change this option while it runs; empty if it can."""
    if name == "bind" and not config.announce_ip:
        return TOLD_ADDRESS.format("announce-ip")
    if name in ("port", "tls-port") and not config.announce_port:
        return TOLD_ADDRESS.format("announce-port")
    return NEEDS_JOURNAL if name == "appendonly" else ""
