"""CLIENT KILL, PAUSE, UNPAUSE, REPLY, UNBLOCK, NO-EVICT and NO-TOUCH: a client acts on connections, its own or others'.

A handler says what is to become of a connection, by an effect; it must never close or pause one itself.
"""

from __future__ import annotations

from collections.abc import Callable

from kvserver.acl.users import Users
from kvserver.dispatch.arguments import MAX_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.command import command, wrong_subcommand
from kvserver.dispatch.effect import BeginPause, Effect, EndPause, Kill, Switch, Unblock
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import NO_REPLY, OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Muted, Pause, Session

TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")


def check_client_type(kind: bytes) -> None:
    """CommandError unless there are clients of this type in Redis."""
    if kind.lower() not in TYPES:
        raise CommandError(f"ERR Unknown client type '{kind.decode('utf-8', 'surrogateescape')}'")


def client_type(session: Session) -> bytes:
    return b"pubsub" if session.is_subscriber else b"normal"


# --- KILL ---


def _client_id(word: bytes) -> int:
    number = integer(word, "ERR client-id should be greater than 0")
    if number < 1:
        raise CommandError("ERR client-id should be greater than 0")
    return number


def _filter(users: Users, option: bytes, word: bytes) -> Callable[[Session], bool]:
    """The predicate of an option of KILL: true for each session that it means. CommandError for a wrong option or word."""
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
            user = users.get(word)
            if user is None:
                raise CommandError(f"ERR No such user '{word.decode('utf-8', 'surrogateescape')}'")
            return lambda session: session.user is user
    raise CommandError(SYNTAX_ERROR)


@command("client|kill",
         "filter<ip:port|new-format<ID=client-id:integer?@2.8.12|TYPE=normal_master_slave_pubsub<NORMAL|MASTER@3.2.0|SLAVE|"
         "REPLICA@5.0.0|PUBSUB>?@2.8.12|USER=username?|ADDR=ip:port?|LADDR=ip:port?@6.2.0|SKIPME=yes/no?>+>",
         "admin noscript loading stale",
         since="2.4.0", group="connection", complexity="O(N) where N is the number of client connections",
         summary="Kill the connection of a client")  # fmt: skip
def client_kill(session: Session, request: Request) -> Reply | Effect:
    everybody = session.server.sessions.values()
    if len(request) == 3:
        meant = [other for other in everybody if other.address.encode() == request[2]]
        if not meant:
            raise CommandError("ERR No such client")
        return Kill(meant, OK)
    # The options are read by hand: each word behind one is checked as it comes, and has error texts of its own.
    skips_own = True
    filters = []
    rest = list(reversed(request[2:]))
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
            filters.append(_filter(session.server.users, option, rest.pop()))
    meant = [other for other in everybody if all(applies(other) for applies in filters)]
    if skips_own:
        meant = [other for other in meant if other is not session]
    return Kill(meant, len(meant))


# --- PAUSE and the others ---


@command("client|pause", "timeout:integer mode<WRITE|ALL>?@6.2.0", "admin noscript loading stale",
         since="2.9.50", group="connection", complexity="O(1)",
         summary="Stop processing commands from clients for some time")  # fmt: skip
def client_pause(session: Session, request: Request) -> Effect:
    if len(request) > 4:
        raise wrong_subcommand(request)
    pause = Pause.ALL
    if len(request) == 4:
        if request[3].lower() not in (b"write", b"all"):
            raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
        pause = Pause.WRITES if request[3].lower() == b"write" else Pause.ALL
    duration_ms = integer(request[2], "ERR timeout is not an integer or out of range")
    if duration_ms < 0:
        raise CommandError("ERR timeout is negative")
    until_ms = session.server.now_ms() + duration_ms
    if until_ms > MAX_INTEGER:
        raise CommandError("ERR timeout is out of range")
    return BeginPause(pause, until_ms)


@command("client|unpause", "", "admin noscript loading stale",
         since="6.2.0", group="connection", complexity="O(N) Where N is the number of paused clients",
         summary="Resume processing of clients that were paused")  # fmt: skip
def client_unpause(session: Session, request: Request) -> Effect:
    return EndPause()


def _check_queueable_reply(request: Request) -> None:
    """Refuse OFF and SKIP, which would break the array of the replies of a transaction."""
    if request[2].lower() != b"on":
        raise Refusal("ERR CLIENT REPLY OFF or SKIP is not allowed inside a transaction")


@command("client|reply", "on_off_skip<ON|OFF|SKIP>", "noscript loading stale",
         since="3.2.0", group="connection", complexity="O(1)",
         summary="Instruct the server whether to reply to commands",
         check_queueable=_check_queueable_reply)  # fmt: skip
def client_reply(session: Session, request: Request) -> Effect:
    match request[2].lower():
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


@command("client|unblock", "client-id:integer timeout_error<TIMEOUT|ERROR>?", "admin noscript loading stale",
         since="5.0.0", group="connection", complexity="O(log N) where N is the number of client connections",
         summary="Unblock a client blocked in a blocking command from a different connection")  # fmt: skip
def client_unblock(session: Session, request: Request) -> Reply | Effect:
    """0 if the client does not wait by a blocking command. The end of a pause is nothing that UNBLOCK can bring."""
    if len(request) > 4:
        raise wrong_subcommand(request)
    error = len(request) == 4 and request[3].lower() == b"error"
    if len(request) == 4 and not error and request[3].lower() != b"timeout":
        raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    meant = session.server.sessions.get(integer(request[2]))
    if meant is None or not meant.is_blocked:
        return 0
    return Unblock(meant, "UNBLOCKED client unblocked via CLIENT UNBLOCK" if error else "", 1)


@command("client|no-evict", "enabled<ON|OFF>", "admin noscript loading stale",
         since="7.0.0", group="connection", complexity="O(1)",
         summary="Set client eviction mode for the current connection")  # fmt: skip
def client_no_evict(session: Session, request: Request) -> Reply:
    if request[2].lower() not in (b"on", b"off"):
        raise CommandError(SYNTAX_ERROR)
    session.no_evict = request[2].lower() == b"on"
    return OK


@command("client|no-touch", "enabled<ON|OFF>", "noscript loading stale",
         since="7.2.0", group="connection", complexity="O(1)",
         summary="Controls whether commands sent by the client affect the LRU/LFU of accessed keys.")  # fmt: skip
def client_no_touch(session: Session, request: Request) -> Effect:
    if request[2].lower() not in (b"on", b"off"):
        raise CommandError(SYNTAX_ERROR)
    session.no_touch = request[2].lower() == b"on"
    return Switch(OK)
