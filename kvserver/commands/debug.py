"""DEBUG: what tests need of a server, for those who may."""

from __future__ import annotations

from kvserver.dispatch.effect import Crash, Effect, Sleep
from kvserver.dispatch.row import NO_KEYS, Command, help_lines, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import Session

NOT_ALLOWED = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a '
    "local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
LONGEST_SLEEP_S = 1e9  # some thirty years: more is too much for the event loop
HELP = """CRASH
    Append the first half of the present frame to the medium: a torn write, on purpose.
ERROR <string>
    Return a Redis protocol error with <string> as message. Useful for clients
    unit tests to simulate Redis errors.
SET-ACTIVE-EXPIRE <0|1>
    Setting it to 0 disables expiring keys in background when they are not
    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the
    default.
SLEEP <seconds>
    Stop the server for <seconds>. Decimals allowed."""


def debug(session: Session, args: list[bytes]) -> Reply | Effect:
    allowed = session.server.config.enable_debug_command
    if allowed == "no" or (allowed == "local" and not session.is_local):
        raise CommandError(NOT_ALLOWED)
    match [args[1].upper(), *args[2:]]:
        case [b"CRASH"]:
            return Crash()
        case [b"ERROR", text]:
            raise CommandError(text.decode("utf-8", "surrogateescape"))
        case [b"HELP"]:
            return help_lines("DEBUG", HELP)
        case [b"SET-ACTIVE-EXPIRE", number]:
            session.server.expires_actively = number.strip() not in (b"0", b"")
            return OK
        case [b"SLEEP", text]:
            return Sleep(_seconds(text))
    raise wrong_subcommand(args)


def _seconds(text: bytes) -> float:
    """As C's strtod, for which anything else is 0."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_SLEEP_S) if seconds > 0 else 0.0


COMMANDS = (
    Command("debug", -2, ("admin", "noscript", "loading", "stale"), NO_KEYS, debug, "A container for debugging commands",
            "1.0.0", "server", "Depends on subcommand."),
)  # fmt: skip
