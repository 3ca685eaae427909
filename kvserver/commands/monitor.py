"""MONITOR."""

from __future__ import annotations

from kvserver.dispatch.effect import Switch
from kvserver.dispatch.row import NO_KEYS, Command
from kvserver.errors import CommandError
from kvserver.resp.reply import NO_REPLY, OK, Reply
from kvserver.state.session import Session


def monitor(session: Session, args: list[bytes]) -> Switch:
    if session.is_executing:
        raise CommandError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    monitors = session.server.monitors
    reply: Reply = NO_REPLY if session.id in monitors else OK  # Redis does not answer a second one
    monitors[session.id] = session
    return Switch(reply)


COMMANDS = (
    Command("monitor", 1, ("admin", "noscript", "loading", "stale"), NO_KEYS, monitor,
            "Listen for all requests received by the server in real time", "1.0.0", "server",
            "O(N) for every command that runs, where N is the number of clients that listen"),
)  # fmt: skip
