"""The gate: may this session run this command now? One function (`refusal`) answers, in the order of Redis's processCommand.

Besides refusals, the gate owns what else a call meets on its way to the handler and back: a pause, the queue of MULTI,
notifications, monitors, CLIENT REPLY. `call` takes a call through all of that. Where nothing of it concerns a session
(`is_plain`), the writer goes past the gate, by the table alone. The gate asks the state of the session and the server each
time, so nobody has to tell it of a change; a handler that changes what `is_plain` asks returns an effect, behind which the
writer asks again. The gate names no command: it treats each as the fields of `Command` say. It changes no data, but evicts
keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kvserver.acl.denials import Context, Entry
from kvserver.acl.selector import Denial, Reason
from kvserver.dispatch.command import Command, Handler, Many, unknown_command
from kvserver.dispatch.effect import Ahead, Close, Effect, Fed, Monitored, Notified, Postpone, Quiet, Released, Tracked
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Error, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.channels import Message, MonitorLine
from kvserver.state.client_line import describe
from kvserver.state.description import Description
from kvserver.state.session import Muted, Pause, ServerState, Session

# What runs a command, the numbers of words that a call may have, the command, and what runs several calls at once, unless
# something stands before the handler now. Measured: to unpack a NamedTuple takes 50 ns longer than to unpack a tuple.
Runner = tuple[Handler, range, Command, Many | None]
# By the command's name, in lower and in upper case.
Runners = Mapping[bytes, Runner]

QUEUED: Final = Simple("QUEUED")
NOAUTH: Final = "NOAUTH Authentication required."
NOPERM: Final = {
    Reason.COMMAND: "NOPERM this user has no permissions to run the '{}' command",
    Reason.KEY: "NOPERM this user has no permissions to access one of the keys used as arguments",
    Reason.CHANNEL: "NOPERM this user has no permissions to access one of the channels used as arguments",
}
NOPERM_AT_EXEC: Final = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no "
    "longer allowed for the following reason: "
)
LACKED_AT_EXEC: Final = {
    Reason.COMMAND: "no permission to execute the command or subcommand",
    Reason.KEY: "no permission to touch the specified keys",
    Reason.CHANNEL: "no permission to access one of the channels used as arguments",
}
NO_MULTI: Final = "ERR Command not allowed inside a transaction"
OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
MISCONF: Final = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    "modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting "
    "fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."
)
MISCONF_JOURNAL: Final = "MISCONF Errors writing to the AOF file: "
READONLY: Final = "READONLY You can't write against a read only replica."
MASTERDOWN: Final = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
ONLY_PUBSUB: Final = (
    "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
)
LOADING: Final = "LOADING Redis is loading the dataset in memory"
# Redis takes a monitor for a replica.
NO_KEYSPACE: Final = "ERR Replica can't interact with the keyspace"
EXEC_REFUSED: Final = "EXECABORT Transaction discarded because of: "

# Measured: to find a member in its enumeration takes 40 ns.
_HEARD: Final = Muted.NONE
_NO_PAUSE: Final = Pause.NONE

# The text of Redis 7.2, since that of 7.0 does not say which connection it was.
ATTACK = (
    "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. This is likely due "
    "to an attacker attempting to use Cross Protocol Scripting to compromise your Redis instance. Connection from {} aborted."
)
ATTACK_TOLD_EVERY_MS = 60_000

_ESCAPES = {ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t", ord("\a"): b"\\a", ord("\b"): b"\\b"}
_ESCAPES |= {byte: b"\\%c" % byte for byte in b'\\"'}
# Each byte as Redis's sdscatrepr prints it.
_PRINTED = [_ESCAPES.get(byte, b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte) for byte in range(256)]


# --- May it run? ---


def is_open(server: ServerState) -> bool:
    """True if nothing of the server stands between calls and their handlers now, but perhaps a limit of memory."""
    facts = server.persistence
    return (
        server.pause is _NO_PAUSE
        and not server.reserved
        and not server.monitors
        and not server.notifications.is_on
        and not server.journal.error
        and (facts.last_save_ok or not server.config.stop_writes_on_bgsave_error)
        and not (facts.loading or facts.medium_poisoned)
        and server.replication.is_primary
    )


def is_free(session: Session, *, but_for_rights: bool = False) -> bool:
    """True if nothing of the session itself stands between its calls and their handlers now, perhaps but for its rights."""
    return (
        session.transaction is None
        and (session.is_unrestricted or (but_for_rights and session.authenticated))
        and session.muted is _HEARD
        and session.tracker is None
        and not session.no_touch
        and (session.protocol == 3 or not (session.channels or session.patterns or session.shard_channels))
    )


def is_plain(session: Session) -> bool:
    """True if nothing stands between the calls of a session and their handlers now, but perhaps a limit of memory.

    What `refusal`, `must_wait` or `call` asks of a session or the server has to stand in `is_free` or `is_open`, too: past the
    gate it is never asked. Of a standby `is_plain_reader` asks the same, but for what concerns writes alone.
    """
    return is_free(session) and is_open(session.server)


def is_guarded(session: Session) -> bool:
    """True if nothing stands between the calls of a session and their handlers now but its rights, and a limit of memory.

    Then each handler is wrapped by `guarded`, which asks what `refusal` would ask.
    """
    return is_free(session, but_for_rights=True) and is_open(session.server)


def is_plain_reader(session: Session) -> bool:
    """True if nothing stands between the calls of a standby's session and their handlers now, unless they may write."""
    server = session.server
    if server.replication.is_primary or server.pause is not _NO_PAUSE or server.monitors or server.notifications.is_on:
        return False
    return is_free(session) and not server.persistence.loading and not is_cut_off(server)


def refusal(session: Session, command: Command, request: Request) -> str | None:
    """The error by which a session is refused a call of this command now; None if it may run, or be queued.

    EXEC is refused as a queued call would be. Where memory is short, this evicts keys.
    """
    # The gate has let the EXEC through, or the call was accepted before it was recorded.
    if session.is_executing or session.is_replay:
        return None
    server, facts, transaction = session.server, session.server.persistence, session.transaction
    if not session.authenticated and not command.is_for_all:
        return NOAUTH
    if transaction and not command.is_never_queued and (text := unqueueable(command, request)):
        return text
    if not session.is_unrestricted:
        text = rights_error(session, command, request)
        if text:
            return text
    # Nothing may be evicted while a script stands aside, so this is asked before memory is.
    if server.scripts.busy_error and "allow_busy" not in command.flags:
        return server.scripts.busy_error
    meant = _meant(session, command)
    if server.memory.limit_bytes:
        # A queue takes memory, whatever calls it holds.
        grows = transaction is not None and not command.is_never_queued
        if (grows or _any_has("denyoom", meant)) and is_out_of_memory(server):
            return OOM
    is_standby = not server.replication.is_primary
    if server.journal.error or facts.medium_poisoned or not facts.last_save_ok or is_standby:
        text = write_error(server)
        if text and _any_has("write", meant):
            return text
    if not command.is_for_subscribers and session.is_resp2_subscriber:
        return ONLY_PUBSUB.format(command.name)
    if is_standby and is_cut_off(server) and not all("stale" in each.flags for each in meant):
        return MASTERDOWN
    if facts.loading and not all("loading" in each.flags for each in meant):
        return LOADING
    if server.monitors and session.id in server.monitors and (_any_has("readonly", meant) or _any_changes(meant)):
        return NO_KEYSPACE
    return None


def rights_error(session: Session, command: Command, request: Request) -> str | None:
    """The error by which a call is refused for want of rights, or None."""
    context = Context.TRANSACTION if session.transaction else Context.TOP_LEVEL
    denial = denied(session, command, request, context)
    return NOPERM[denial.reason].format(command.name) if denial else None


def denied(session: Session, command: Description, request: Request, context: Context) -> Denial | None:
    """The reason why the session's user may not make a call, which is noted in the log of denials; or None."""
    denial = session.user.denial(command, request, session.server.users.catalogue)
    if denial:
        thing = command.name.encode() if denial.reason is Reason.COMMAND else request[denial.place]
        # In a transaction or a script, the client has said another command than this one.
        said = command.name.encode() if context is not Context.SCRIPT and not session.is_executing else session.last_command
        note_denial(session, denial.reason, context, thing, session.user.name, said)
    return denial


def note_denial(session: Session, reason: Reason, context: Context, thing: bytes, user: bytes, said: bytes) -> None:
    """Note in the log of denials that a client, which has said this command, is denied a thing as this user."""
    server = session.server
    # What CLIENT LIST tells is the last command of those that have come together.
    last, session.last_command = session.last_command, said
    entry = Entry(reason, context, thing, user, server.now_ms(), describe(session, []))
    session.last_command = last
    server.denials.add(entry, server.config.acllog_max_len)


def is_out_of_memory(server: ServerState) -> bool:
    """True if too much memory is used, and evicting some keys does not help."""
    # As in Redis, who follows a source has what the source has, and lets no key go by itself.
    return server.memory.is_over and server.replication.source is None and not server.memory.make_room()


def write_error(server: ServerState) -> str:
    """The error by which writes are refused now; empty if they are taken."""
    # In Redis, MISCONF comes before this. But a node that has lost the engine is displaced while its journal fails, and by
    # this error clients know that they have to look for the other one.
    if not server.replication.is_primary:
        return READONLY
    if server.journal.error:
        return MISCONF_JOURNAL + server.journal.error
    facts = server.persistence
    fails = facts.medium_poisoned or (not facts.last_save_ok and server.config.stop_writes_on_bgsave_error)
    return MISCONF if fails else ""


def is_cut_off(server: ServerState) -> bool:
    """True for a standby that does not hear from the log, and may not serve what is stale."""
    return not server.config.replica_serve_stale_data and server.replication.is_stale


def unqueueable(command: Command, request: Request) -> str | None:
    """The error by which a call is refused in MULTI, if it can't be part of a transaction; else None."""
    if "no_multi" in command.flags:
        return NO_MULTI
    if command.check_queueable:
        try:
            command.check_queueable(request)
        except Refusal as refused:
            return str(refused)
    return None


def must_wait(session: Session, command: Command) -> bool:
    """True if CLIENT PAUSE holds a command back. Monitors are never held, since Redis takes them for replicas."""
    pause = session.server.pause
    if pause is _NO_PAUSE or session.is_executing or session.is_replay or session.id in session.server.monitors:
        return False
    return pause is Pause.ALL or _any_changes(_meant(session, command))


def writes_reserved(session: Session, command: Command, request: Request) -> bool:
    """True if a call would write a key that another session has reserved, or might: it waits for the end of that.

    Of a transaction that changes anything in several databases nobody looks up which keys it writes.
    """
    if session.is_executing or session.is_replay:
        return False
    if session.transaction and not command.is_never_queued:
        return False
    if not (command.runs_queue and session.transaction):
        return _would_write_reserved(session, command, request)
    calls = [(session.server.commands[queued[0].lower()], queued) for queued in session.transaction.requests]
    if any(each.name == "select" for each, _ in calls):
        return _any_changes([*session.transaction.commands])
    return any(_would_write_reserved(session, each.meant_by(queued) or each, queued) for each, queued in calls)


def _would_write_reserved(session: Session, command: Description, request: Request) -> bool:
    if not _any_changes((command,)) or "pubsub" in command.flags:
        return False
    try:
        keys = command.written_keys(request)
    except CommandError:
        # The call itself tells that its words are wrong.
        return False
    number, reserved = session.keyspace.number, session.server.reserved
    places = [(number, key) for key in keys] or list(reserved)
    return any(reserved.get(place, session) is not session for place in places)


def _meant(session: Session, command: Command) -> Sequence[Description]:
    """The commands that a call of this one would run: itself and, if it is EXEC, those of the queued calls."""
    if command.runs_queue and session.transaction:
        return [command, *session.transaction.commands]
    return (command,)


def _any_has(flag: str, commands: Sequence[Description]) -> bool:
    return any(flag in each.flags for each in commands)


def _any_changes(commands: Sequence[Description]) -> bool:
    """True if replicas would get one of the commands."""
    return any("write" in each.flags or each.may_replicate for each in commands)


# --- The way of a command ---


def call(runners: Runners, session: Session, request: Request) -> Reply | Effect:
    """Run a call, if it may run now, tell of its events and show it to monitors; or queue it in MULTI, or let a pause hold it.

    Refusal if it may not run, CommandError if it fails. While CLIENT REPLY holds replies back, the result or the error is in
    a Quiet; while the client tracks keys, that is in a Tracked. Of a command whose steps were taken ahead, all that is in a
    Released.
    """
    if session.is_executing:
        return _call(runners, session, request)
    was_ahead = session.ready is not None
    if session.tracker is None and not was_ahead:
        return _call_and_feed(runners, session, request)
    result: Reply | Effect | CommandError
    try:
        result = _call_and_feed(runners, session, request)
    except CommandError as error:
        result = error
    if not was_ahead:
        return Tracked(result)
    return Released(Tracked(result) if session.tracker else result)


def _call_and_feed(runners: Runners, session: Session, request: Request) -> Reply | Effect:
    way = _call if session.muted is _HEARD else _call_muted
    touched = session.server.databases.awaited.touched
    try:
        result = way(runners, session, request)
    except CommandError as error:
        # A script that fails has done what it did before.
        if touched:
            return Fed(error)
        raise
    return Fed(result) if touched else result


def _call(runners: Runners, session: Session, request: Request) -> Reply | Effect:
    notifications = session.server.notifications
    if not notifications.is_on or session.is_journal:
        return _pass(runners, session, request)
    result: Reply | Effect | CommandError
    try:
        result = _pass(runners, session, request)
    except CommandError as error:
        result = error
    deliveries = notifications.take()
    if deliveries:
        return Notified(result, deliveries)
    if isinstance(result, CommandError):
        raise result
    return result


def _pass(runners: Runners, session: Session, request: Request) -> Reply | Effect:
    runner = runners.get(request[0]) or runners.get(request[0].lower())
    if runner is None:
        return _call_unknown(session, request)
    handler, _, command, _ = runner
    server = session.server
    try:
        resolved = command.resolve(request)
        if session.is_executing and not session.is_unrestricted:
            # The rules may have changed since the call was queued.
            denial = denied(session, resolved, request, Context.TRANSACTION)
            if denial:
                return Error(NOPERM_AT_EXEC + LACKED_AT_EXEC[denial.reason])
        text = refusal(session, resolved, request)
        if text is not None:
            raise Refusal(text)
    except Refusal as refused:
        if command.runs_queue:
            return _end_refused(session, request, refused)
        _note_refusal(session)
        raise
    if server.pause is not _NO_PAUSE and must_wait(session, resolved):
        return Postpone()
    if server.reserved and writes_reserved(session, resolved, request):
        return Postpone()
    if session.transaction and not resolved.is_never_queued:
        return queue(session, resolved, request)
    if session.tracker:
        handler = remembering(handler, resolved)
    if session.no_touch:
        handler = _untouching(handler)
    # The keys that were evicted so far are no doing of the command.
    if server.notifications.is_on and not session.is_journal:
        server.notifications.begin(resolved, request)
    if not server.monitors or "admin" in resolved.flags or session.is_journal:
        return handler(session, request)
    result: Reply | Effect | CommandError
    # Monitors are shown such a call before those that it makes.
    shown = None
    if "skip_monitor" in resolved.flags:
        shown = server.scripts.announced = shown_to_monitors(session, request)
    try:
        result = handler(session, request)
    except CommandError as error:
        result = error
    if shown is not None:
        server.scripts.announced = []
    # It runs anew, and is shown then.
    if isinstance(result, Postpone):
        return result
    return Monitored(result) if shown is None else Notified(result, shown)


def _call_muted(runners: Runners, session: Session, request: Request) -> Reply | Effect:
    before = session.muted
    if before is Muted.NEXT:
        session.muted = Muted.PRESENT
    result: Reply | Effect | CommandError
    try:
        result = _call(runners, session, request)
    except CommandError as error:
        result = error
    if isinstance(result.result if isinstance(result, Notified) else result, Postpone):
        session.muted = before
        return result  # type: ignore[return-value]
    return Quiet(result)


def _call_unknown(session: Session, request: Request) -> Effect:
    if request[0].lower() in (b"post", b"host:"):
        return refuse_http(session)
    _note_refusal(session)
    raise unknown_command(request)


def _note_refusal(session: Session) -> None:
    """Note that a call was refused: in MULTI, this makes EXEC fail."""
    if session.transaction:
        session.transaction.has_failed = True


def _end_refused(session: Session, request: Request, refused: Refusal) -> Effect:
    """End the transaction of an EXEC that is refused, and show the EXEC to monitors."""
    session.end_transaction()
    error = Refusal(EXEC_REFUSED + str(refused).removeprefix("ERR "))
    if not (session.server.monitors and session.authenticated):
        raise error
    return Monitored(error)


def queue(session: Session, command: Command, request: Request) -> Reply:
    """Keep a call for EXEC, and reply QUEUED."""
    assert session.transaction
    # As in Redis, what will never run takes no memory.
    if not (session.transaction.has_failed or (session.watch and session.server.watches.is_touched(session.watch))):
        session.transaction.requests.append(request)
        session.transaction.commands.add(command)
    # It will be counted as a call when EXEC runs it.
    session.server.usages.take_back(request)
    return QUEUED


def _untouching(handler: Handler) -> Handler:
    """The handler of a client whose reads are no uses of keys (CLIENT NO-TOUCH)."""

    def run(session: Session, request: Request) -> Reply | Effect:
        keyspace = session.keyspace
        keyspace.hide_uses()
        try:
            return handler(session, request)
        finally:
            keyspace.show_uses()

    return run


def within_limit(handler: Handler, command: Command) -> Handler:
    """The handler that a command which may need more memory has for plain sessions while memory has a limit."""

    def run(session: Session, request: Request) -> Reply | Effect:
        # A subcommand or a form that is declared by itself may need no memory (RESTORE without arguments).
        if is_out_of_memory(session.server) and "denyoom" in (command.meant_by(request) or command).flags:
            raise Refusal(OOM)
        return handler(session, request)

    return run


def guarded(handler: Handler, command: Command) -> Handler:
    """The handler that a command has for sessions whose user may not do everything."""

    def run(session: Session, request: Request) -> Reply | Effect:
        text = rights_error(session, command.resolve(request) if is_container else command, request)
        if text is None:
            return handler(session, request)
        if command.runs_queue:
            return _end_refused(session, request, Refusal(text))
        raise Refusal(text)

    is_container = command.is_container
    return run


def feeding(handler: Handler, command: Command) -> Handler:
    """The handler that a command which writes has for plain sessions while somebody waits for keys."""

    def run(session: Session, request: Request) -> Reply | Effect:
        touched = session.server.databases.awaited.touched
        try:
            result = handler(session, request)
        except CommandError as error:
            if touched:
                return Fed(error)
            raise
        return Fed(result) if touched else result

    return run


def remembering(handler: Handler, command: Command) -> Handler:
    """The handler that a command has for a session that tracks keys: those that it reads are remembered."""
    # Of a script the calls read, not the script itself.
    reads = "readonly" in command.flags and command.group != "scripting"

    def run(session: Session, request: Request) -> Reply | Effect:
        tracking = session.server.tracking
        tracking.begin(session, in_transaction=session.is_executing)
        result: Reply | Effect = None
        try:
            result = handler(session, request)
            return result
        finally:
            # One that has yet to run has read nothing, but for one whose steps go on from here.
            if reads and (not isinstance(result, Postpone) or isinstance(result, Ahead)):
                tracking.remember(session, command, request)

    return run


# --- Monitors ---


def shown_to_monitors(session: Session, request: Request) -> list[tuple[Session, Message]]:
    """The messages that show a call to all monitors, and their receivers."""
    line = MonitorLine(monitor_line(session, request))
    return [(monitor, line) for monitor in session.server.monitors.values() if monitor.muted is _HEARD]


def monitor_line(session: Session, request: Request) -> bytes:
    """A call as MONITOR shows it, a simple string: Unix time, database and address of the client, and the words."""
    now_us = session.server.now_us()
    address = "unix:" + session.address.removesuffix(":0") if session.is_on_unix_socket else session.address
    command = session.server.commands.get(request[0].lower())
    shown = command.redacted(request) if command else request
    words = b" ".join(b'"%b"' % b"".join([_PRINTED[byte] for byte in word]) for word in shown)
    return b"+%d.%06d [%d %b] %b\r\n" % (*divmod(now_us, 1_000_000), session.keyspace.number, address.encode(), words)


# --- HTTP ---


def refuse_http(session: Session) -> Effect:
    """Close the connection of a client that says `POST` or `Host:`, and log this once a minute.

    A web page that makes a browser talk to this server must not get to a command.
    """
    state = session.server
    now_ms = state.now_ms()
    if now_ms - state.attack_told_at_ms <= ATTACK_TOLD_EVERY_MS:
        return Close(())
    state.attack_told_at_ms = now_ms
    return Close((), ATTACK.format(session.address))
