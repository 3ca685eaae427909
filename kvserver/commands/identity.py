"""What the server says of itself without being asked much: TIME, ROLE, LOLWUT."""

from __future__ import annotations

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.row import NO_KEYS, Command
from kvserver.resp.reply import Reply, Verbatim
from kvserver.state.session import SERVER_VERSION, Session

MAZE_ROWS, MAZE_COLUMNS = 12, 66


def time_(session: Session, args: list[bytes]) -> Reply:
    seconds, microseconds = divmod(session.server.now_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


def role(session: Session, args: list[bytes]) -> Reply:
    return [b"master", 0, []]


def lolwut(session: Session, args: list[bytes]) -> Reply:
    if len(args) > 2 and args[1].upper() == b"VERSION":
        integer(args[2])  # whatever it is: there is one drawing, and never the same
    random_below = session.server.random_below
    maze = ["".join("╱╲"[random_below(2)] for _ in range(MAZE_COLUMNS)) for _ in range(MAZE_ROWS)]
    signature = f"10 PRINT, Commodore 64, 1982. kvserver ver. {session.server.version}, Redis ver. {SERVER_VERSION}"
    return Verbatim("\n".join([*maze, "", signature, ""]).encode())


COMMANDS = (
    Command("time", 1, ("loading", "stale", "fast"), NO_KEYS, time_, "Return the current server time", "2.6.0", "server",
            "O(1)"),
    Command("role", 1, ("noscript", "loading", "stale", "fast"), NO_KEYS, role,
            "Return the role of the instance in the context of replication", "2.8.12", "server", "O(1)"),
    Command("lolwut", -1, ("readonly", "fast"), NO_KEYS, lolwut,
            "Display some computer art and the Redis version", "5.0.0", "server", "O(1)"),
)  # fmt: skip
