"""TIME, LOLWUT and MONITOR: commands about the server itself."""

from __future__ import annotations

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Switch
from kvserver.errors import CommandError
from kvserver.resp.reply import NO_REPLY, OK, Reply, Verbatim
from kvserver.resp.request import Request
from kvserver.state.session import SERVER_VERSION, Session

MAZE_ROWS, MAZE_COLUMNS = 12, 66


@command("time", "", "loading stale fast",
         since="2.6.0", group="server", complexity="O(1)", tips="nondeterministic_output",
         summary="Return the current server time")  # fmt: skip
def time_(session: Session, request: Request) -> Reply:
    seconds, microseconds = divmod(session.server.now_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


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
