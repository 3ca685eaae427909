"""The way from the URL of an engine to what talks to it. What talks to it is imported when its URL comes, and not before.

    memory://NAME                                 in this process, for tests
    file:PATH, file:///path                       in a folder of this machine
    nats://HOST:PORT,HOST2/NAME                   NATS JetStream; tls:// for TLS
    s3://BUCKET/PREFIX?endpoint=URL&region=NAME   (snapshots alone, too)

It stands apart from `locate`, since the library opens folders, and shall never import what has a thread or an event loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kvserver.errors import ExtraMissing, MediumError
from kvserver.media.shared import Engine, Vault

# That in memory is for tests: it is offered to nobody.
_MEDIA: Final = "file:PATH, nats://HOST:PORT/NAME or s3://BUCKET/PREFIX"
_VAULTS: Final = "file:PATH or s3://BUCKET/PREFIX"

_SCHEME = re.compile(r"([a-z0-9]+):", re.IGNORECASE)
# A password may have any character in it, if nobody has quoted it: better too much is left out of a message than too little.
_USER = re.compile(r"//.*@", re.DOTALL)


def open_engine(medium: str, snapshots: str = "") -> Engine:
    """Open the engine at the URL `medium`, with its snapshots in the vault at the URL `snapshots`, if one is named.

    MediumError, in one line without a password: the URL means nothing, or the engine can't be used. ExtraMissing: its client
    is not installed.
    """
    vault = open_vault(snapshots, is_probed=True) if snapshots else None
    try:
        return _open(medium, vault)
    except BaseException:
        if vault:
            vault.close()
        raise


def open_vault(snapshots: str, *, is_probed: bool = False) -> Vault:
    """Open the vault at the URL `snapshots` alone, with no log. MediumError and ExtraMissing as for `open_engine`.

    `is_probed`: an object store is looked at now, by writing there, and otherwise before something else is written.
    """
    match _scheme_of(snapshots):
        case "file":
            from kvserver.media.folder_engine import open_folder_vault

            return open_folder_vault(snapshots)
        case "s3":
            with _needing("s3", "obstore"):
                from kvserver.media.s3 import open_s3_vault

            vault = open_s3_vault(snapshots)
            if is_probed:
                vault.probe()
            return vault
        case "memory":
            from kvserver.media.memory_engine import open_memory_engine

            return open_memory_engine(_name_in(snapshots)).vault
        case scheme:
            raise MediumError(f"snapshots: {_unknown(snapshots, scheme)}, but {_VAULTS}")


def look_at_engine(medium: str, snapshots: str = "") -> Engine:
    """Open an engine as `open_engine` does, for one who only reads: nothing is made or written there.

    MediumError and ExtraMissing as for that, and MediumError if nothing is there.
    """
    vault = open_vault(snapshots) if snapshots else None
    try:
        return _open(medium, vault, only_looks=True)
    except BaseException:
        if vault:
            vault.close()
        raise


def without_password(url: str) -> str:
    """The URL for messages: who it logs in as is left out, with the password."""
    return _USER.sub("//", url)


def _open(medium: str, vault: Vault | None, *, only_looks: bool = False) -> Engine:
    match _scheme_of(medium):
        case "file":
            from kvserver.media.folder_engine import open_folder_engine

            engine = open_folder_engine(medium, is_made=not only_looks)
        case "s3":
            with _needing("s3", "obstore"):
                from kvserver.media.s3 import open_s3

            # A probe writes.
            return open_s3(medium, vault, rounds=0) if only_looks else open_s3(medium, vault)
        case "memory":
            from kvserver.media.memory_engine import open_memory_engine

            engine = open_memory_engine(_name_in(medium))
        case "nats" | "tls":
            with _needing("nats", "nats"):
                from kvserver.media.nats import open_nats

            return open_nats(medium, vault, is_made=not only_looks)
        case scheme:
            raise MediumError(f"medium: {_unknown(medium, scheme)}, but {_MEDIA}")
    return engine._replace(vault=vault) if vault else engine


@contextmanager
def _needing(extra: str, package: str) -> Iterator[None]:
    """Tell who has not installed the package, which this extra brings, how to do that."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ExtraMissing(f"{extra}:// needs {package}: pip install 'kvserver[{extra}]'") from None


def _scheme_of(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match else ""


def _unknown(url: str, scheme: str) -> str:
    return f"there is no {scheme}: of kvserver" if scheme else f"{without_password(url)!r} is no URL"


def _name_in(url: str) -> str:
    name = url.partition("://")[2]
    if not name:
        raise MediumError(f"{without_password(url)!r} has no name: memory://NAME")
    return name
