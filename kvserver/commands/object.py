"""OBJECT: the encoding in which Redis would hold a value, its references, and when or how often its key was used.

No subcommand counts as a use of the key.
"""

from __future__ import annotations

from typing import Final

from kvserver.data.entries import Value
from kvserver.data.kinds import kind_of
from kvserver.dispatch.command import command, container, help_lines
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

# Redis has one object for each integer from 0 to below this number.
SHARED_INTEGERS: Final = 10_000
SHARED_REFCOUNT: Final = 2**31 - 1
_ADJUST: Final = "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
IDLE_NOT_TRACKED: Final = f"ERR An LFU maxmemory policy is selected, idle time not tracked. {_ADJUST}"
FREQUENCY_NOT_TRACKED: Final = f"ERR An LFU maxmemory policy is not selected, access frequency not tracked. {_ADJUST}"


object_ = container("object",
                    since="2.2.3", group="generic",
                    summary="A container for object introspection commands")  # fmt: skip


@command("object|encoding", "key:key", "readonly", access="RO",
         since="2.2.3", group="generic", complexity="O(1)", tips="nondeterministic_output",
         summary="Inspect the internal encoding of a Redis object")  # fmt: skip
def object_encoding(session: Session, request: Request) -> Reply:
    value = session.keyspace.peek_live(request[2])
    return None if value is None else kind_of(value).encoding(value)


@command("object|refcount", "key:key", "readonly", access="RO",
         since="2.2.3", group="generic", complexity="O(1)", tips="nondeterministic_output",
         summary="Get the number of references to the value of the key")  # fmt: skip
def object_refcount(session: Session, request: Request) -> Reply:
    value = session.keyspace.peek_live(request[2])
    return None if value is None else refcount(session, value)


def refcount(session: Session, value: Value) -> int:
    """The number of references that Redis has to the object of a value."""
    config = session.server.config
    # Under these policies Redis has a clock in each object, so that no object can stand for several values.
    has_clocks = config.maxmemory and config.maxmemory_policy.endswith(("-lru", "-lfu"))
    if has_clocks or not isinstance(value, bytes) or kind_of(value).encoding(value) != b"int":
        return 1
    return SHARED_REFCOUNT if 0 <= int(value) < SHARED_INTEGERS else 1


@command("object|idletime", "key:key", "readonly", access="RO",
         since="2.2.3", group="generic", complexity="O(1)", tips="nondeterministic_output",
         summary="Get the time since a Redis object was last accessed")  # fmt: skip
def object_idletime(session: Session, request: Request) -> Reply:
    if session.keyspace.peek_live(request[2]) is None:
        return None
    if session.server.config.maxmemory_policy.endswith("-lfu"):
        raise CommandError(IDLE_NOT_TRACKED)
    return session.server.memory.idle_s(session.keyspace, request[2])


@command("object|freq", "key:key", "readonly", access="RO",
         since="4.0.0", group="generic", complexity="O(1)", tips="nondeterministic_output",
         summary="Get the logarithmic access frequency counter of a Redis object")  # fmt: skip
def object_freq(session: Session, request: Request) -> Reply:
    if session.keyspace.peek_live(request[2]) is None:
        return None
    frequency = session.server.memory.frequency(session.keyspace, request[2])
    if frequency is None:
        raise CommandError(FREQUENCY_NOT_TRACKED)
    return frequency


HELP = """ENCODING <key>
    Return the kind of internal representation used in order to store the value
    associated with a <key>.
FREQ <key>
    Return the access frequency index of the <key>. The returned integer is
    proportional to the logarithm of the recent access frequency of the key.
IDLETIME <key>
    Return the idle time of the <key>, that is the approximated number of
    seconds elapsed since the last access to the key.
REFCOUNT <key>
    Return the number of references of the value associated with the specified
    <key>."""


@command("object|help", "", "loading stale",
         since="6.2.0", group="generic", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def object_help(session: Session, request: Request) -> Reply:
    return help_lines("OBJECT", HELP)
