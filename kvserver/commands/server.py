"""TIME, ROLE, LOLWUT, MONITOR and DEBUG: commands about the server itself. DEBUG is for tests."""

from __future__ import annotations

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, help_lines, wrong_subcommand
from kvserver.dispatch.effect import Crash, Effect, Sleep, Switch
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import NO_REPLY, OK, Reply, Verbatim
from kvserver.resp.request import Request
from kvserver.state.session import SERVER_VERSION, Session

MAZE_ROWS, MAZE_COLUMNS = 12, 66
NOT_ALLOWED = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a '
    "local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
# The event loop takes no longer time than this, which is some thirty years.
LONGEST_SLEEP_S = 1e9
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


@command("time", "", "loading stale fast",
         since="2.6.0", group="server", complexity="O(1)", tips="nondeterministic_output",
         summary="Return the current server time")  # fmt: skip
def time_(session: Session, request: Request) -> Reply:
    seconds, microseconds = divmod(session.server.now_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


@command("role", "", "noscript loading stale fast",
         since="2.8.12", group="server", complexity="O(1)", categories="admin dangerous",
         summary="Return the role of the instance in the context of replication")  # fmt: skip
def role(session: Session, request: Request) -> Reply:
    return [b"master", 0, []]


@command("lolwut", "VERSION=version:integer?", "readonly fast",
         since="5.0.0", group="server", complexity="O(1)",
         summary="Display some computer art and the Redis version")  # fmt: skip
def lolwut(session: Session, request: Request) -> Reply:
    # The arguments are read by hand: Redis takes any word that it doesn't know, and words behind the version, which say how
    # to draw. The version must be a number and has no effect: there is one kind of drawing here.
    if len(request) > 2 and request[1].upper() == b"VERSION":
        integer(request[2])
    random_below = session.server.random_below
    maze = ["".join("╱╲"[random_below(2)] for _ in range(MAZE_COLUMNS)) for _ in range(MAZE_ROWS)]
    signature = f"10 PRINT, Commodore 64, 1982. kvserver ver. {session.server.version}, Redis ver. {SERVER_VERSION}"
    return Verbatim("\n".join([*maze, "", signature, ""]).encode())


@command("monitor", "", "admin noscript loading stale",
         since="1.0.0", group="server",
         complexity="O(N) for every command that runs, where N is the number of clients that listen",
         summary="Listen for all requests received by the server in real time")  # fmt: skip
def monitor(session: Session, request: Request) -> Switch:
    if session.is_executing:
        raise CommandError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    monitors = session.server.monitors
    # Redis does not answer a second MONITOR.
    reply: Reply = NO_REPLY if session.id in monitors else OK
    monitors[session.id] = session
    return Switch(reply)


def _check_queueable(request: Request) -> None:
    """Refuse a crash, which would leave half of the transaction."""
    if request[1].lower() == b"crash":
        raise Refusal("ERR DEBUG CRASH is not allowed inside a transaction")


@command("debug", "", "admin noscript loading stale",
         since="1.0.0", group="server", complexity="Depends on subcommand.", arity=-2,
         summary="A container for debugging commands",
         check_queueable=_check_queueable)  # fmt: skip
def debug(session: Session, request: Request) -> Reply | Effect:
    allowed = session.server.config.enable_debug_command
    if allowed == "no" or (allowed == "local" and not session.is_local):
        raise CommandError(NOT_ALLOWED)
    match [request[1].upper(), *request[2:]]:
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
    raise wrong_subcommand(request)


def _seconds(text: bytes) -> float:
    """The seconds that C's strtod reads in a text, from 0 to LONGEST_SLEEP_S; 0 for a text that is no number."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_SLEEP_S) if seconds > 0 else 0.0
