"""When keys expire: EXPIRE and its kin, TTL and its kin, PERSIST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.arguments import MAX_INTEGER, integer
from kvserver.dispatch.row import FIRST_KEY, Command, Handler
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.state.session import Session

MISSING: Final = -2
NEVER: Final = -1


def _conditions(words: list[bytes]) -> set[bytes]:
    """The options behind key and time. CommandError where one is unknown or they contradict each other."""
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
    if current_ms is None:  # which is later than any time
        return not conditions & {b"XX", b"GT"}
    if b"NX" in conditions or (b"GT" in conditions and wanted_ms <= current_ms):
        return False
    return not (b"LT" in conditions and wanted_ms >= current_ms)


def _expire(name: str, *, unit_ms: int, is_relative: bool) -> Handler:
    """EXPIRE, PEXPIRE, EXPIREAT or PEXPIREAT."""

    def run(session: Session, args: list[bytes]) -> Reply:
        keyspace, key = session.keyspace, args[1]
        conditions = _conditions(args[3:])
        now_ms = keyspace.now_ms()
        base_ms = now_ms if is_relative else 0
        number = integer(args[2])
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

    return run


def persist(session: Session, args: list[bytes]) -> Reply:
    keyspace, key = session.keyspace, args[1]
    if keyspace.live(key) is None or keyspace.expires_at_ms(key) is None:
        return 0
    keyspace.expire(key, None)
    return 1


def _ask(show: Callable[[int, int], int]) -> Handler:
    """TTL and its kin: what `show` makes of the expiry and the present time, both in Unix milliseconds."""

    def run(session: Session, args: list[bytes]) -> Reply:
        keyspace, key = session.keyspace, args[1]
        if keyspace.peek_read(key) is None:
            return MISSING
        expires_at_ms = keyspace.expires_at_ms(key)
        return NEVER if expires_at_ms is None else show(expires_at_ms, keyspace.now_ms())

    return run


def _seconds(milliseconds: int) -> int:
    return (milliseconds + 500) // 1000


def _expire_row(name: str, summary: str, since: str, *, unit_ms: int, is_relative: bool) -> Command:
    handler = _expire(name, unit_ms=unit_ms, is_relative=is_relative)
    return Command(name, -3, ("write", "fast"), FIRST_KEY, handler, summary, since, "generic", "O(1)")


def _ask_row(name: str, summary: str, since: str, show: Callable[[int, int], int]) -> Command:
    return Command(name, 2, ("readonly", "fast"), FIRST_KEY, _ask(show), summary, since, "generic", "O(1)")


COMMANDS = (
    _expire_row("expire", "Set a key's time to live in seconds", "1.0.0", unit_ms=1000, is_relative=True),
    _expire_row("pexpire", "Set a key's time to live in milliseconds", "2.6.0", unit_ms=1, is_relative=True),
    _expire_row("expireat", "Set the expiration for a key as a UNIX timestamp", "1.2.0", unit_ms=1000, is_relative=False),
    _expire_row("pexpireat", "Set the expiration for a key as a UNIX timestamp specified in milliseconds", "2.6.0",
                unit_ms=1, is_relative=False),
    _ask_row("ttl", "Get the time to live for a key in seconds", "1.0.0",
             lambda expires_at_ms, now_ms: _seconds(max(expires_at_ms - now_ms, 0))),
    _ask_row("pttl", "Get the time to live for a key in milliseconds", "2.6.0",
             lambda expires_at_ms, now_ms: max(expires_at_ms - now_ms, 0)),
    _ask_row("expiretime", "Get the expiration Unix timestamp for a key", "7.0.0",
             lambda expires_at_ms, now_ms: _seconds(expires_at_ms)),
    _ask_row("pexpiretime", "Get the expiration Unix timestamp for a key in milliseconds", "7.0.0",
             lambda expires_at_ms, now_ms: expires_at_ms),
    Command("persist", 2, ("write", "fast"), FIRST_KEY, persist, "Remove the expiration from a key", "2.2.0", "generic",
            "O(1)"),
)  # fmt: skip
