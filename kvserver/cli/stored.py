"""The data at a URL, opened by one who only reads: the snapshots in a vault, and the log behind them if there is one."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kvserver.errors import MediumError
from kvserver.formats.manifest import Manifest
from kvserver.media.engine_urls import look_at_engine, without_password
from kvserver.media.shared import SharedLog, Tip, Vault

# Whoever reads beside a writer begins again so often, since newer snapshots have taken the place of what was named.
TRIES: Final = 5
# Whoever writes to a log says at least each second that it lives, or that it has ended.
NO_ENTRY: Final = "no entry of the log is here: if the log is elsewhere, name its URL, and this one by --snapshots"

_URL = re.compile(r"[A-Za-z0-9]+://|file:")


def is_url(path: str) -> bool:
    """True for a URL of an engine or a vault; else it is a path."""
    return _URL.match(path) is not None


class Stored(NamedTuple):
    """What is at a URL, which is without a password. `log` is None where snapshots are all that is kept."""

    url: str
    vault: Vault
    log: SharedLog | None

    def close(self) -> None:
        """Let go of it."""
        self.vault.close()
        if self.log:
            self.log.close()

    def manifest(self) -> Manifest:
        """The manifest, or an empty one if there is none. MediumError if it can't be read."""
        return self.vault.manifest()[0] or Manifest()

    def has_log(self, manifest: Manifest) -> bool:
        """True if a log goes on behind the snapshots: those that one server has made of its directory have an owner."""
        return self.log is not None and not manifest.owner


def open_stored(url: str, snapshots: str = "") -> Stored:
    """What is at the URL of an engine, whose snapshots are in the vault at another URL if one is given; or at that of a vault.

    Nothing is made or changed there. MediumError and ExtraMissing, in one line, if it can't be opened.
    """
    engine = look_at_engine(url, snapshots)
    engine.presence.close()
    stored = Stored(engine.url, engine.vault, engine.log)
    try:
        if snapshots and (owner := stored.manifest().owner):
            place = without_password(snapshots.partition("?")[0])
            raise MediumError(f"{place} has the backups of the server {owner}, which belong to no log")
    except BaseException:
        stored.close()
        raise
    return stored


def tip_of(manifest: Manifest) -> Tip:
    """The place in the log from which it goes on behind the snapshot that the manifest links to."""
    return Tip(manifest.position, manifest.mark_number, manifest.mark_digest)
