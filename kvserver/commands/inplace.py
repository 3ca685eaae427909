"""What commands share that change a part of a string: what may be changed, how long it may grow, what is kept of it."""

from __future__ import annotations

from kvserver.commands.arguments import WRONG_TYPE
from kvserver.data.encodings import JSONText, raw
from kvserver.data.entries import Expiring, Value
from kvserver.errors import CommandError
from kvserver.state.session import Session


def changeable(session: Session, key: bytes) -> bytes | None:
    """The string under a key, or None where it is missing. CommandError for any other JSON value."""
    value = session.keyspace.live(key)
    if isinstance(value, JSONText):
        raise CommandError(WRONG_TYPE)
    return value


def check_length(session: Session, length: int) -> None:
    """CommandError for a string of more bytes than proto-max-bulk-len."""
    if length > session.server.config.proto_max_bulk_len and not session.is_replay:
        raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


def amend(session: Session, key: bytes, value: Value, written: list[bytes]) -> None:
    """Store what `written` makes of a value that is alive, or of a key that is missing. The expiry is kept.

    Where there is one, it is written again: run when the key is gone, `written` makes a new one that must go, too.
    """
    keyspace = session.keyspace
    entry = keyspace.get(key)
    keyspace.written.append(written)
    if type(entry) is Expiring:
        keyspace.set_expiring(key, value, entry.expires_at_ms)
        keyspace.written.append([b"PEXPIREAT", key, b"%d" % entry.expires_at_ms])
    else:
        keyspace.set(key, value)


def unpack(session: Session, key: bytes) -> None:
    """Hold a string that is there, and stays the same, as one that was built in place. Changes nothing that is written."""
    keyspace = session.keyspace
    entry = keyspace.get(key)
    if type(entry) is Expiring:
        keyspace.set_expiring(key, raw(entry.value), entry.expires_at_ms)
    else:
        keyspace.set(key, raw(entry))
