"""What the journal needs to bring a key back as it is now, whenever it is replayed.

A replay may come when an earlier expiry of the key has passed, so that the key is gone at this place of the journal. A
command that lets a key live longer, or without an end, or under another name, must therefore bring its value along:
`PEXPIREAT key later` alone would find nothing.
"""

from __future__ import annotations

from kvserver.data.encodings import JSONText
from kvserver.data.entries import Value
from kvserver.data.keyspace import Keyspace


def note_whole(keyspace: Keyspace, key: bytes, value: Value, expires_at_ms: int | None) -> None:
    """Append to `keyspace.written` what stores this value under the key, with its expiry (Unix milliseconds) or none."""
    if isinstance(value, JSONText):
        keyspace.written.append([b"JSON.SET", key, b"$", bytes(value)])
        if expires_at_ms is not None:
            keyspace.written.append([b"PEXPIREAT", key, b"%d" % expires_at_ms])
    elif expires_at_ms is None:
        keyspace.written.append([b"SET", key, value])
    else:
        keyspace.written.append([b"SET", key, value, b"PXAT", b"%d" % expires_at_ms])
