"""The connection itself: PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET, WAIT."""

from __future__ import annotations

import hmac

from kvserver.commands.client import check_client_name
from kvserver.dispatch.arguments import check_database, integer
from kvserver.dispatch.effect import Close, Effect, Recognize
from kvserver.dispatch.row import NO_KEYS, Command, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.state.session import SERVER_VERSION, Session

PONG = Simple("PONG")
RESET = Simple("RESET")
WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
NO_PASSWORD_SET = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)


def ping(session: Session, args: list[bytes]) -> Reply:
    if len(args) == 1:
        return PONG
    if len(args) > 2:
        raise wrong_arity("ping")
    return args[1]


def echo(session: Session, args: list[bytes]) -> Reply:
    return args[1]


def authenticate(session: Session, user: bytes, password: bytes) -> None:
    """Authenticate as the one user there is. CommandError if user or password are wrong."""
    expected = session.server.config.requirepass
    if user != b"default" or (expected and not hmac.compare_digest(expected, password)):
        raise CommandError(WRONG_PASSWORD)
    session.authenticated = True


def auth(session: Session, args: list[bytes]) -> Effect:
    if len(args) > 3:
        raise CommandError("ERR syntax error")
    if len(args) == 2:
        if not session.server.config.requirepass:
            raise CommandError(NO_PASSWORD_SET)
        authenticate(session, b"default", args[1])
    else:
        authenticate(session, args[1], args[2])
    return Recognize(OK)


def hello(session: Session, args: list[bytes]) -> Effect:
    protocol = session.protocol
    if len(args) > 1:
        protocol = integer(args[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    rest = list(reversed(args[2:]))
    while rest:
        word = rest.pop()
        if word.upper() == b"AUTH" and len(rest) >= 2:
            credentials = (rest.pop(), rest.pop())
        elif word.upper() == b"SETNAME" and rest:
            name = rest.pop()
            check_client_name(name)
        else:
            raise CommandError(f"ERR Syntax error in HELLO option '{word.decode('utf-8', 'surrogateescape')}'")
    if credentials:
        authenticate(session, *credentials)
    if not session.authenticated:
        raise CommandError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
            "option can be used to authenticate the client and select the RESP protocol version at the same time"
        )
    if name is not None:
        session.name = name
    session.protocol = protocol
    greeting: Reply = {
        b"server": b"redis",
        b"version": SERVER_VERSION.encode(),
        b"proto": protocol,
        b"id": session.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }
    return Recognize(greeting)


def select(session: Session, args: list[bytes]) -> Reply:
    check_database(args[1])
    return OK


def quit_(session: Session, args: list[bytes]) -> Effect:
    return Close((OK,))


def reset(session: Session, args: list[bytes]) -> Effect:
    session.reset()
    return Recognize(RESET)


def wait(session: Session, args: list[bytes]) -> Reply:
    """How many replicas have what this client wrote: there are none, and none will come, so nothing is waited for."""
    integer(args[1])
    if integer(args[2], "ERR timeout is not an integer or out of range") < 0:
        raise CommandError("ERR timeout is negative")
    return 0


_HANDSHAKE = ("noscript", "loading", "stale", "fast", "no_auth", "allow_busy")

COMMANDS = (
    # Refused while data is loaded: health checks take its reply for the sign that a server is ready.
    Command("ping", -1, ("fast",), NO_KEYS, ping, "Ping the server", "1.0.0", "connection", "O(1)"),
    Command("echo", 2, ("loading", "stale", "fast"), NO_KEYS, echo, "Echo the given string", "1.0.0", "connection", "O(1)"),
    Command("hello", -1, _HANDSHAKE, NO_KEYS, hello, "Handshake with Redis", "6.0.0", "connection", "O(1)"),
    Command("auth", -2, _HANDSHAKE, NO_KEYS, auth, "Authenticate to the server", "1.0.0", "connection",
            "O(N) where N is the number of passwords defined for the user"),
    Command("select", 2, ("loading", "stale", "fast"), NO_KEYS, select,
            "Change the selected database for the current connection", "1.0.0", "connection", "O(1)"),
    Command("quit", -1, _HANDSHAKE, NO_KEYS, quit_, "Close the connection", "1.0.0", "connection", "O(1)"),
    Command("reset", 1, _HANDSHAKE, NO_KEYS, reset, "Reset the connection", "6.2.0", "connection", "O(1)"),
    Command("wait", 3, ("noscript",), NO_KEYS, wait,
            "Wait for the synchronous replication of all the write commands sent in the context of the current connection",
            "3.0.0", "generic", "O(1)"),
)  # fmt: skip
