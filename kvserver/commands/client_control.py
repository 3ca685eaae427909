"""What a client does to connections, its own or others': CLIENT KILL, PAUSE, REPLY, UNBLOCK, and the like."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.dispatch.arguments import MAX_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.effect import Effect, Hold, Kill, Resume, Switch
from kvserver.dispatch.row import NO_KEYS, Command, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import NO_REPLY, OK, Reply, SetOf
from kvserver.state.session import Muted, Pause, Session

TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")


def check_client_type(kind: bytes) -> None:
    """CommandError unless there are clients of this type in Redis."""
    if kind.lower() not in TYPES:
        raise CommandError(f"ERR Unknown client type '{kind.decode('utf-8', 'surrogateescape')}'")


def client_type(session: Session) -> bytes:
    return b"pubsub" if session.is_subscriber else b"normal"


# KILL


def _client_id(word: bytes) -> int:
    number = integer(word, "ERR client-id should be greater than 0")
    if number < 1:
        raise CommandError("ERR client-id should be greater than 0")
    return number


def _filter(option: bytes, word: bytes) -> Callable[[Session], bool]:
    """What tells whether a session is meant by an option of KILL."""
    match option:
        case b"ID":
            number = _client_id(word)
            return lambda session: session.id == number
        case b"TYPE":
            check_client_type(word)
            kind = word.lower()
            return lambda session: client_type(session) == kind
        case b"ADDR":
            return lambda session: session.address.encode() == word
        case b"LADDR":
            return lambda session: session.local_address.encode() == word
        case b"USER":
            if word != b"default":
                raise CommandError(f"ERR No such user '{word.decode('utf-8', 'surrogateescape')}'")
            return lambda session: True
    raise CommandError(SYNTAX_ERROR)


def client_kill(session: Session, args: list[bytes]) -> Reply | Effect:
    everybody = session.server.sessions.values()
    if len(args) == 3:
        meant = [other for other in everybody if other.address.encode() == args[2]]
        if not meant:
            raise CommandError("ERR No such client")
        return Kill(meant, OK)
    skips_own = True
    filters = []
    rest = list(reversed(args[2:]))
    while rest:
        option = rest.pop().upper()
        if not rest:
            raise CommandError(SYNTAX_ERROR)
        if option == b"SKIPME":
            answer = rest.pop().lower()
            if answer not in (b"yes", b"no"):
                raise CommandError(SYNTAX_ERROR)
            skips_own = answer == b"yes"
        else:
            filters.append(_filter(option, rest.pop()))
    meant = [other for other in everybody if all(applies(other) for applies in filters)]
    if skips_own:
        meant = [other for other in meant if other is not session]
    return Kill(meant, len(meant))


# PAUSE and the others


def client_pause(session: Session, args: list[bytes]) -> Effect:
    if len(args) > 4:
        raise wrong_subcommand(args)
    pause = Pause.ALL
    if len(args) == 4:
        if args[3].lower() not in (b"write", b"all"):
            raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
        pause = Pause.WRITES if args[3].lower() == b"write" else Pause.ALL
    duration_ms = integer(args[2], "ERR timeout is not an integer or out of range")
    if duration_ms < 0:
        raise CommandError("ERR timeout is negative")
    until_ms = session.server.now_ms() + duration_ms
    if until_ms > MAX_INTEGER:
        raise CommandError("ERR timeout is out of range")
    return Hold(pause, until_ms)


def client_unpause(session: Session, args: list[bytes]) -> Effect:
    return Resume()


def client_reply(session: Session, args: list[bytes]) -> Effect:
    match args[2].lower():
        case b"on":
            session.muted = Muted.NONE
            return Switch(OK)
        case b"off":
            session.muted = Muted.ALL
        case b"skip":
            if session.muted is not Muted.ALL:
                session.muted = Muted.NEXT
        case _:
            raise CommandError(SYNTAX_ERROR)
    return Switch(NO_REPLY)


def client_unblock(session: Session, args: list[bytes]) -> Reply:
    """Whether a client was released from a blocking command: there are none, and a pause is not ended by this."""
    if len(args) > 4:
        raise wrong_subcommand(args)
    if len(args) == 4 and args[3].lower() not in (b"timeout", b"error"):
        raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    integer(args[2])
    return 0


def client_no_evict(session: Session, args: list[bytes]) -> Reply:
    if args[2].lower() not in (b"on", b"off"):
        raise CommandError(SYNTAX_ERROR)
    session.no_evict = args[2].lower() == b"on"
    return OK


def client_getredir(session: Session, args: list[bytes]) -> Reply:
    return -1


def client_tracking(session: Session, args: list[bytes]) -> Reply:
    rest = list(reversed(args[3:]))
    while rest:
        option = rest.pop().upper()
        if option == b"REDIRECT" and rest:
            integer(rest.pop())
        elif option == b"PREFIX" and rest:
            rest.pop()
        elif option not in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
            raise CommandError(SYNTAX_ERROR)
    match args[2].lower():
        case b"off":
            return OK
        case b"on":
            raise CommandError("ERR client side caching (CLIENT TRACKING) is not supported")
    raise CommandError(SYNTAX_ERROR)


def client_caching(session: Session, args: list[bytes]) -> Reply:
    raise CommandError(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
    )


def client_trackinginfo(session: Session, args: list[bytes]) -> Reply:
    return {b"flags": SetOf([b"off"]), b"redirect": -1, b"prefixes": []}


_FLAGS = ("noscript", "loading", "stale")
_ADMIN = ("admin", *_FLAGS)
_GROUP = "connection"

SUBCOMMANDS = (
    Command("client|caching", 3, _FLAGS, NO_KEYS, client_caching,
            "Instruct the server about tracking or not keys in the next request", "6.0.0", _GROUP, "O(1)"),
    Command("client|getredir", 2, _FLAGS, NO_KEYS, client_getredir,
            "Get tracking notifications redirection client ID if any", "6.0.0", _GROUP, "O(1)"),
    Command("client|kill", -3, _ADMIN, NO_KEYS, client_kill, "Kill the connection of a client", "2.4.0", _GROUP,
            "O(N) where N is the number of client connections"),
    Command("client|no-evict", 3, _ADMIN, NO_KEYS, client_no_evict,
            "Set client eviction mode for the current connection", "7.0.0", _GROUP, "O(1)"),
    Command("client|pause", -3, _ADMIN, NO_KEYS, client_pause, "Stop processing commands from clients for some time",
            "2.9.50", _GROUP, "O(1)"),
    Command("client|reply", 3, _FLAGS, NO_KEYS, client_reply, "Instruct the server whether to reply to commands", "3.2.0",
            _GROUP, "O(1)"),
    Command("client|tracking", -3, _FLAGS, NO_KEYS, client_tracking,
            "Enable or disable server assisted client side caching support", "6.0.0", _GROUP,
            "O(1). Some options may introduce additional complexity."),
    Command("client|trackinginfo", 2, _FLAGS, NO_KEYS, client_trackinginfo,
            "Return information about server assisted client side caching for the current connection", "6.2.0", _GROUP,
            "O(1)"),
    Command("client|unblock", -3, _ADMIN, NO_KEYS, client_unblock,
            "Unblock a client blocked in a blocking command from a different connection", "5.0.0", _GROUP,
            "O(log N) where N is the number of client connections"),
    Command("client|unpause", 2, _ADMIN, NO_KEYS, client_unpause, "Resume processing of clients that were paused", "6.2.0",
            _GROUP, "O(N) Where N is the number of paused clients"),
)  # fmt: skip
