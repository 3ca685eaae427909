"""What commands share that change a part of a string: what may be changed, and how long it may grow."""

from __future__ import annotations

from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.state.session import Session
from kvserver.types.string.value import STRING


def changeable(session: Session, key: bytes) -> bytes | None:
    """The string under a key, or None where it is missing. CommandError for any other value, a document as well."""
    value = session.keyspace.live(key)
    if value is None or (isinstance(value, bytes) and kind_of(value) is STRING):
        return value
    raise CommandError(WRONG_TYPE)


def check_length(session: Session, length: int) -> None:
    """CommandError for a string of more bytes than proto-max-bulk-len."""
    if length > session.server.config.proto_max_bulk_len and not session.is_replay:
        raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
