"""The words of a command without its secrets, for whoever shows commands to people: SLOWLOG, MONITOR."""

from __future__ import annotations

from typing import Final

from kvserver.options.kinds import PASSWORD
from kvserver.options.table import OPTIONS

REDACTED: Final = b"(redacted)"
# Those of Redis that mean nothing here are secrets as well.
SECRET_OPTIONS: Final = {option.name.encode() for option in OPTIONS if option.kind is PASSWORD} | {
    b"masterauth",
    b"masteruser",
    b"tls-client-key-file-pass",
}


def redacted(args: list[bytes]) -> list[bytes]:
    """The words as Redis shows them: what AUTH, HELLO and CONFIG SET say in confidence is replaced."""
    name = args[0].lower()
    if name == b"auth":
        secrets = set(range(1, len(args)))
    elif name == b"hello":
        secrets = {
            place + step for place, word in enumerate(args) if place >= 2 and word.lower() == b"auth" for step in (1, 2)
        }
    elif name == b"config" and len(args) > 1 and args[1].lower() == b"set":
        secrets = {place + 1 for place in range(2, len(args), 2) if args[place].lower() in SECRET_OPTIONS}
    else:
        return args
    return [REDACTED if place in secrets else word for place, word in enumerate(args)]
