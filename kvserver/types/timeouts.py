"""The time-outs of blocking commands, as Redis reads them. Pure."""

from __future__ import annotations

from kvserver.dispatch.arguments import MAX_INTEGER, integer
from kvserver.errors import CommandError
from kvserver.resp.request import Request
from kvserver.state.session import SCRIPT_ID, Session

_NOT_A_FLOAT = "ERR timeout is not a float or out of range"
_USUAL_DIGITS = 9


def seconds(word: bytes) -> int:
    """The milliseconds, rounded up, of a time-out in seconds, which may have a fraction; 0 for no time-out.

    CommandError if the word is no such number.
    """
    if word.isdigit() and len(word) <= _USUAL_DIGITS:
        return int(word) * 1000
    from kvserver.types.longdouble import LongDouble

    number = LongDouble.parse(word)
    if number is None:
        raise CommandError(_NOT_A_FLOAT)
    timeout = number.times(1000)
    # Redis puts what is too much into 64 bits all the same, which makes it negative.
    timeout_ms = timeout.ceiling() if timeout.is_finite else -1
    return _checked(timeout_ms if timeout_ms <= MAX_INTEGER else -1)


def milliseconds(word: bytes) -> int:
    """The milliseconds of a time-out; 0 for no time-out. CommandError if the word is no such number."""
    return _checked(integer(word, "ERR timeout is not an integer or out of range"))


def _checked(timeout_ms: int) -> int:
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    return timeout_ms


def refuse_in_script(session: Session, request: Request) -> None:
    """Refuse the option BLOCK of a command that a script calls. CommandError in a script."""
    if session.id == SCRIPT_ID:
        name = request[0].decode("utf-8", "surrogateescape")
        raise CommandError(f"ERR {name} command is not allowed with BLOCK option from scripts")
