"""PING, ECHO, AUTH, HELLO, QUIT, RESET: the commands that are about the connection itself.

They change the session alone; the connection takes notice by an effect.
"""

from __future__ import annotations

from kvserver.acl.denials import Context
from kvserver.acl.selector import Reason
from kvserver.acl.users import DEFAULT
from kvserver.commands.client import check_client_name
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, wrong_arity
from kvserver.dispatch.effect import Close, Effect, Recognize
from kvserver.dispatch.gate import note_denial
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.session import SERVER_VERSION, Session

PONG = Simple("PONG")
RESET = Simple("RESET")
WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
NO_PASSWORD_SET = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)


@command("ping", "message?", "fast",
         since="1.0.0", group="connection", complexity="O(1)", tips="request_policy:all_shards response_policy:all_succeeded",
         summary="Ping the server",
         is_for_subscribers=True)  # fmt: skip
def ping(session: Session, request: Request) -> Reply:
    if len(request) > 2:
        raise wrong_arity("ping")
    # In RESP2, a subscriber gets every reply in the form of a message.
    if session.is_resp2_subscriber:
        return [b"pong", *(request[1:] or [b""])]
    if len(request) == 1:
        return PONG
    return request[1]


@command("echo", "message", "loading stale fast",
         since="1.0.0", group="connection", complexity="O(1)",
         summary="Echo the given string")  # fmt: skip
def echo(session: Session, request: Request) -> Reply:
    return request[1]


def authenticate(session: Session, request: Request, name: bytes, password: bytes) -> None:
    """Log in as the user of this name. CommandError if there is none, or if it may not, or by another password."""
    user = session.server.users.get(name)
    if user is None or not user.accepts(password):
        is_in_transaction = session.transaction is not None or session.is_executing
        context = Context.TRANSACTION if is_in_transaction else Context.TOP_LEVEL
        note_denial(session, Reason.AUTH, context, request[0], name, request[0])
        raise CommandError(WRONG_PASSWORD)
    session.be(user)


@command("auth", "username?@6.0.0 password", "noscript loading stale fast no_auth allow_busy",
         since="1.0.0", group="connection", complexity="O(N) where N is the number of passwords defined for the user",
         summary="Authenticate to the server",
         secrets=lambda request: range(1, len(request)))  # fmt: skip
def auth(session: Session, request: Request) -> Effect:
    if len(request) > 3:
        raise CommandError("ERR syntax error")
    if len(request) == 2:
        if session.server.users.default.needs_no_password:
            raise CommandError(NO_PASSWORD_SET)
        authenticate(session, request, DEFAULT, request[1])
    else:
        authenticate(session, request, request[1], request[2])
    return Recognize(OK)


def _secrets_of_hello(request: Request) -> list[int]:
    words = [place for place in range(2, len(request)) if request[place].lower() == b"auth"]
    return [place + step for place in words for step in (1, 2)]


@command("hello", "arguments{protover:integer AUTH=username_password{username password}? SETNAME=clientname?}?",
         "noscript loading stale fast no_auth allow_busy",
         since="6.0.0", group="connection", complexity="O(1)",
         summary="Handshake with Redis",
         secrets=_secrets_of_hello)  # fmt: skip
def hello(session: Session, request: Request) -> Effect:
    protocol = session.protocol
    if len(request) > 1:
        protocol = integer(request[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    # The options are read by hand: the error about a wrong one has a text of its own, which names the option.
    rest = list(reversed(request[2:]))
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
        authenticate(session, request, *credentials)
    if not session.has_logged_in:
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
        b"role": b"master" if session.server.replication.is_primary else b"replica",
        b"modules": [],
    }
    return Recognize(greeting)


@command("quit", "", "noscript loading stale fast no_auth allow_busy",
         since="1.0.0", group="connection", complexity="O(1)", arity=-1,
         summary="Close the connection",
         is_for_subscribers=True, is_never_queued=True)  # fmt: skip
def quit_(session: Session, request: Request) -> Effect:
    return Close((OK,))


@command("reset", "", "noscript loading stale fast no_auth allow_busy",
         since="6.2.0", group="connection", complexity="O(1)",
         summary="Reset the connection",
         is_for_subscribers=True, is_never_queued=True)  # fmt: skip
def reset(session: Session, request: Request) -> Effect:
    session.reset()
    return Recognize(RESET)
