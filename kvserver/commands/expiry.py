"""EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, PERSIST, TTL, PTTL, EXPIRETIME, PEXPIRETIME: the times at which keys expire.

All times are counted by the keyspace's clock, in Unix milliseconds. A key whose time comes is removed by `data`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.arguments import MAX_INTEGER, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

MISSING: Final = -2
NEVER: Final = -1


def _conditions(words: list[bytes]) -> set[bytes]:
    """The options behind key and time. CommandError if one is unknown or they contradict each other.

    They are read here, not by the notation: several may be given, and the errors about them have texts of their own.
    """
    found: set[bytes] = set()
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            shown = word.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            raise CommandError(f"ERR Unsupported option {shown}")
        found.add(word.upper())
    if b"NX" in found and len(found) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if found >= {b"GT", b"LT"}:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return found


def _is_met(conditions: set[bytes], current_ms: int | None, wanted_ms: int) -> bool:
    # A key without an expiry counts as one that expires later than any other.
    if current_ms is None:
        return not conditions & {b"XX", b"GT"}
    if b"NX" in conditions or (b"GT" in conditions and wanted_ms <= current_ms):
        return False
    return not (b"LT" in conditions and wanted_ms >= current_ms)


def _expire(name: str, session: Session, request: Request, *, unit_ms: int, is_relative: bool) -> Reply:
    keyspace, key = session.keyspace, request[1]
    conditions = _conditions(request[3:])
    now_ms = keyspace.now_ms()
    base_ms = now_ms if is_relative else 0
    number = integer(request[2])
    if not -((MAX_INTEGER + 1) // unit_ms) <= number <= (MAX_INTEGER - base_ms) // unit_ms:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    wanted_ms = number * unit_ms + base_ms
    if keyspace.live(key) is None or not _is_met(conditions, keyspace.expires_at_ms(key), wanted_ms):
        return 0
    if wanted_ms <= now_ms:
        keyspace.remove(key)
    else:
        keyspace.expire(key, wanted_ms)
    return 1


@command("expire", "key:key seconds:integer condition<NX|XX|GT|LT>?@7.0.0", "write fast", access="RW update",
         since="1.0.0", group="generic", complexity="O(1)",
         summary="Set a key's time to live in seconds")  # fmt: skip
def expire(session: Session, request: Request) -> Reply:
    return _expire("expire", session, request, unit_ms=1000, is_relative=True)


@command("pexpire", "key:key milliseconds:integer condition<NX|XX|GT|LT>?@7.0.0", "write fast", access="RW update",
         since="2.6.0", group="generic", complexity="O(1)",
         summary="Set a key's time to live in milliseconds")  # fmt: skip
def pexpire(session: Session, request: Request) -> Reply:
    return _expire("pexpire", session, request, unit_ms=1, is_relative=True)


@command("expireat", "key:key unix-time-seconds:unix-time condition<NX|XX|GT|LT>?@7.0.0", "write fast", access="RW update",
         since="1.2.0", group="generic", complexity="O(1)",
         summary="Set the expiration for a key as a UNIX timestamp")  # fmt: skip
def expireat(session: Session, request: Request) -> Reply:
    return _expire("expireat", session, request, unit_ms=1000, is_relative=False)


@command("pexpireat", "key:key unix-time-milliseconds:unix-time condition<NX|XX|GT|LT>?@7.0.0", "write fast",
         access="RW update",
         events="expire", since="2.6.0", group="generic", complexity="O(1)",
         summary="Set the expiration for a key as a UNIX timestamp specified in milliseconds")  # fmt: skip
def pexpireat(session: Session, request: Request) -> Reply:
    return _expire("pexpireat", session, request, unit_ms=1, is_relative=False)


@command("persist", "key:key", "write fast", access="RW update",
         since="2.2.0", group="generic", complexity="O(1)",
         summary="Remove the expiration from a key")  # fmt: skip
def persist(session: Session, request: Request) -> Reply:
    keyspace, key = session.keyspace, request[1]
    if keyspace.live(key) is None or keyspace.expires_at_ms(key) is None:
        return 0
    keyspace.expire(key, None)
    return 1


def _ask(session: Session, key: bytes, show: Callable[[int, int], int]) -> Reply:
    """The result of `show(expiry, present time)`, both in Unix milliseconds; MISSING or NEVER where there is no expiry."""
    keyspace = session.keyspace
    if keyspace.peek_read(key) is None:
        return MISSING
    expires_at_ms = keyspace.expires_at_ms(key)
    return NEVER if expires_at_ms is None else show(expires_at_ms, keyspace.now_ms())


def _seconds(milliseconds: int) -> int:
    return (milliseconds + 500) // 1000


@command("ttl", "key:key", "readonly fast", access="RO access",
         since="1.0.0", group="generic", complexity="O(1)", tips="nondeterministic_output",
         summary="Get the time to live for a key in seconds")  # fmt: skip
def ttl(session: Session, request: Request) -> Reply:
    return _ask(session, request[1], lambda expires_at_ms, now_ms: _seconds(max(expires_at_ms - now_ms, 0)))


@command("pttl", "key:key", "readonly fast", access="RO access",
         since="2.6.0", group="generic", complexity="O(1)", tips="nondeterministic_output",
         summary="Get the time to live for a key in milliseconds")  # fmt: skip
def pttl(session: Session, request: Request) -> Reply:
    return _ask(session, request[1], lambda expires_at_ms, now_ms: max(expires_at_ms - now_ms, 0))


@command("expiretime", "key:key", "readonly fast", access="RO access",
         since="7.0.0", group="generic", complexity="O(1)",
         summary="Get the expiration Unix timestamp for a key")  # fmt: skip
def expiretime(session: Session, request: Request) -> Reply:
    return _ask(session, request[1], lambda expires_at_ms, now_ms: _seconds(expires_at_ms))


@command("pexpiretime", "key:key", "readonly fast", access="RO access",
         since="7.0.0", group="generic", complexity="O(1)",
         summary="Get the expiration Unix timestamp for a key in milliseconds")  # fmt: skip
def pexpiretime(session: Session, request: Request) -> Reply:
    return _ask(session, request[1], lambda expires_at_ms, now_ms: expires_at_ms)
