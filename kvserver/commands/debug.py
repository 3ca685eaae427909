"""DEBUG: what tests and tools ask of a server, and nobody else. Only those may call it whom `enable-debug-command` lets.

No subcommand counts as a use of a key.
"""

from __future__ import annotations

from typing import Final

from kvserver.commands.object import refcount
from kvserver.commands.persistence import must_be_primary, must_write
from kvserver.data.entries import Entry, Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import at_least
from kvserver.dispatch.command import command, help_lines, wrong_subcommand
from kvserver.dispatch.effect import Crash, Effect, Log, MoveClock, Reload, Sleep
from kvserver.dispatch.gate import LOADING, write_error
from kvserver.errors import CommandError, Refusal
from kvserver.formats.digest import EMPTY, KEY_EXPIRES, join, mix
from kvserver.options.kinds import decode, memory_size
from kvserver.resp.reply import OK, Attributes, BigNumber, Digits, Push, Replies, Reply, SetOf, Simple, Verbatim
from kvserver.resp.request import Request
from kvserver.state.session import Session

NOT_ALLOWED: Final = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a '
    "local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
NO_FLOAT: Final = "ERR value is not a valid float"
NO_ADVANCE: Final = "ERR the clock goes forward only, by 1000000000 seconds at most"
NO_SUCH_KEY: Final = "ERR no such key"
BAD_THRESHOLD: Final = "ERR argument must be a memory value bigger than 1 and smaller than 4gb"
BAD_RELOAD: Final = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."
NO_MERGE: Final = "ERR DEBUG RELOAD can't merge: NOFLUSH is not supported"
NO_RESP2: Final = "ERR RESP2 is not supported by this command"
TOO_MANY_KEYS: Final = "ERR OOM in dictTryExpand"
TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

# The event loop takes no longer time than this, which is some thirty years.
LONGEST_SLEEP_S: Final = 1e9
# So far at most goes the clock at once.
LONGEST_ADVANCE_S: Final = 1e9
# POPULATE makes its keys in one step, as Redis does. More would take all memory, and hours.
MOST_KEYS: Final = 10_000_000
MOST_BYTES: Final = 1 << 30
# Redis formats names of keys in a buffer of this length, with a NUL behind.
_NAME_BYTES: Final = 127
# The clocks of Redis's objects count seconds, those of LFU policies minutes and uses.
_CLOCK: Final = (1 << 24) - 1
_MINUTES: Final = (1 << 16) - 1
_THRESHOLD: Final = memory_size(0, (1 << 32) - (1 << 20))
_ALONE: Final = (b"CLOCK", b"CRASH", b"LOADAOF", b"RELOAD")

HELP: Final = """CLOCK ADVANCE <seconds>
    Move the server's clock forward: what is due then expires, and blocked
    clients whose time is up are answered. Decimals allowed.
CLOCK RESET
    Tell the system's time again. For a server that was emptied.
CRASH
    Append the first half of the present frame to the medium: a torn write, on purpose.
DIGEST
    Output a hex signature representing the current DB content.
DIGEST-VALUE <key> [<key> ...]
    Output a hex signature of the values of all the specified keys.
ERROR <string>
    Return a Redis protocol error with <string> as message. Useful for clients
    unit tests to simulate Redis errors.
LOADAOF
    Like RELOAD: the journal goes on from what is saved.
LOG <message>
    Write <message> to the server log.
OBJECT <key>
    Show low level info about `key` and associated value.
POPULATE <count> [<prefix>] [<size>]
    Create <count> string keys named key:<num>. If <prefix> is specified then
    it is used instead of the 'key' prefix.
PROTOCOL <type>
    Reply with a test value of the specified type. <type> can be: string,
    integer, double, bignum, null, array, set, map, attrib, push, verbatim,
    true, false.
QUICKLIST-PACKED-THRESHOLD <size>
    Check <size>. Lists are not made of nodes here, so that it has no effect.
RELOAD [NOSAVE] [MERGE]
    Save the data and load it again, or load what was saved last. MERGE has no
    effect, as in Redis without NOFLUSH, which is not supported.
SET-ACTIVE-EXPIRE <0|1>
    Setting it to 0 disables expiring keys in background when they are not
    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the
    default.
SLEEP <seconds>
    Stop the server for <seconds>. Decimals allowed."""


def _check_queueable(request: Request) -> None:
    """Refuse what needs the data as a whole, which would leave half of the transaction; in it the time stands still."""
    if request[1].upper() in _ALONE:
        raise Refusal(f"ERR DEBUG {request[1].upper().decode()} is not allowed inside a transaction")


@command("debug", "", "admin noscript loading stale",
         since="1.0.0", group="server", complexity="Depends on subcommand.", arity=-2,
         summary="A container for debugging commands",
         check_queueable=_check_queueable)  # fmt: skip
def debug(session: Session, request: Request) -> Reply | Effect:
    server = session.server
    allowed = server.config.enable_debug_command
    if allowed == "no" or (allowed == "local" and not session.is_local):
        raise CommandError(NOT_ALLOWED)
    match [request[1].upper(), *request[2:]]:
        case [b"CLOCK", subcommand, seconds] if subcommand.upper() == b"ADVANCE":
            return MoveClock(_advance_s(seconds))
        case [b"CLOCK", subcommand] if subcommand.upper() == b"RESET":
            return MoveClock(None)
        case [b"CRASH"]:
            must_be_primary(session)
            return Crash()
        case [b"DIGEST"]:
            return Simple(_digest_of_all(session).hex())
        case [b"DIGEST-VALUE", *keys]:
            return [Simple(_digest_of_value(session.keyspace, key).hex()) for key in keys]
        case [b"ERROR", text]:
            raise CommandError(text.decode("utf-8", "surrogateescape"))
        case [b"HELP"]:
            return help_lines("DEBUG", HELP)
        case [b"LOADAOF"]:
            return _reload(session, [])
        case [b"LOG", text]:
            return Log(f"DEBUG LOG: {text.decode('utf-8', 'backslashreplace')}")
        case [b"OBJECT", key]:
            return Simple(_describe(session, key))
        case [b"POPULATE", count, *rest] if len(rest) <= 2:
            return _populate(session, count, *rest)
        case [b"PROTOCOL", name]:
            return _of_type(session, name)
        case [b"QUICKLIST-PACKED-THRESHOLD", text]:
            return _check_threshold(text)
        case [b"RELOAD", *options]:
            return _reload(session, options)
        case [b"SET-ACTIVE-EXPIRE", number]:
            server.expires_actively = number.strip() not in (b"0", b"")
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


def _advance_s(text: bytes) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise CommandError(NO_FLOAT) from None
    # Python takes 1_0 and blanks around a number, Redis does not.
    if b"_" in text or text != text.strip():
        raise CommandError(NO_FLOAT)
    if not 0 <= seconds <= LONGEST_ADVANCE_S:
        raise CommandError(NO_ADVANCE)
    return seconds


def _check_threshold(text: bytes) -> Reply:
    try:
        _THRESHOLD.parse(decode(text))
    except ValueError:
        raise CommandError(BAD_THRESHOLD) from None
    return OK


def _reload(session: Session, options: list[bytes]) -> Effect:
    words = {option.upper() for option in options}
    if words - {b"MERGE", b"NOFLUSH", b"NOSAVE"}:
        raise CommandError(BAD_RELOAD)
    if b"NOFLUSH" in words:
        raise CommandError(NO_MERGE)
    if session.server.persistence.loading:
        raise CommandError(LOADING)
    must_write(session)
    return Reload(saves=b"NOSAVE" not in words)


# DEBUG PROTOCOL

# redis-server's reply of each type.
_REPLIES: Final[dict[str, Reply]] = {
    "string": b"Hello World",
    "integer": 12345,
    "double": Digits(b"3.141"),
    "bignum": BigNumber(b"1234567999999999999999999999999999999"),
    "null": None,
    "array": [0, 1, 2],
    "set": SetOf([0, 1, 2]),
    "map": {0: False, 1: True, 2: False},
    "attrib": Replies((Attributes({b"key-popularity": [b"key:123", 90]}), b"Some real reply following the attribute")),
    "push": Replies((Push([b"server-cpu-usage", 42]), b"Some real reply following the push reply")),
    "verbatim": Verbatim(b"This is a verbatim\nstring"),
    "true": True,
    "false": False,
}


def _of_type(session: Session, name: bytes) -> Reply:
    word = decode(name).lower()
    if word not in _REPLIES:
        raise CommandError(f"ERR Wrong protocol type name. Please use one of the following: {'|'.join(_REPLIES)}")
    if word == "push" and session.protocol == 2:
        raise CommandError(NO_RESP2)
    return _REPLIES[word]


# DEBUG OBJECT


def _describe(session: Session, key: bytes) -> str:
    """The line of DEBUG OBJECT. The address is that of the object in this process."""
    keyspace = session.keyspace
    value = keyspace.peek_live(key)
    if value is None or keyspace.living(value) is None:
        raise CommandError(NO_SUCH_KEY)
    kind = kind_of(value)
    used, idle_s = _clock_and_idle_s(session, key)
    # A payload of DUMP begins with the type, which is not counted.
    length = len(kind.dump(value)) - 1
    return (
        f"Value at:{id(value):#x} refcount:{refcount(session, value)} encoding:{kind.encoding(value).decode()}"
        f" serializedlength:{length} lru:{used} lru_seconds_idle:{idle_s}{kind.layout(value)}"
    )


def _clock_and_idle_s(session: Session, key: bytes) -> tuple[int, int]:
    """The clock of an object and, as Redis reads it off that clock under any policy, the seconds since its last use."""
    memory, now_s = session.server.memory, session.server.now_ms() // 1000
    frequency = memory.frequency(session.keyspace, key)
    if frequency is None:
        idle_s = memory.idle_s(session.keyspace, key)
        return (now_s - idle_s) & _CLOCK, idle_s
    clock = (now_s // 60 & _MINUTES) << 8 | frequency
    return clock, (now_s - clock) & _CLOCK


# DEBUG DIGEST and DIGEST-VALUE


def _digest_of_all(session: Session) -> bytes:
    digest = EMPTY
    for keyspace in session.server.databases:
        if len(keyspace):
            digest = mix(digest, (keyspace.number.to_bytes(4, "big"),))
            digest = join(digest, (_digest_of(entry, mix(EMPTY, (key,))) for key, entry in keyspace.members()))
    return digest


def _digest_of_value(keyspace: Keyspace, key: bytes) -> bytes:
    entry = keyspace.peek(key)
    return EMPTY if entry is None else _digest_of(entry, EMPTY)


def _digest_of(entry: Entry, digest: bytes) -> bytes:
    """The digest into which an entry is mixed. It is there also if its time has come, as in Redis."""
    expires = isinstance(entry, Expiring)
    value = entry.value if isinstance(entry, Expiring) else entry
    mixed = kind_of(value).digest(value, digest)
    return join(mixed, (KEY_EXPIRES,)) if expires else mixed


# DEBUG POPULATE


def _populate(session: Session, count_text: bytes, prefix: bytes = b"key", size_text: bytes = b"0") -> Reply:
    """Create the keys that are missing. It is no write command by its flags, so that what writes need is looked at here."""
    server, keyspace = session.server, session.keyspace
    count = at_least(0, count_text, NOT_POSITIVE)
    size = at_least(0, size_text, NOT_POSITIVE)
    if size > server.config.proto_max_bulk_len:
        raise CommandError(TOO_LONG)
    if count > MOST_KEYS or count * size > MOST_BYTES:
        raise CommandError(TOO_MANY_KEYS)
    if refused := LOADING if server.persistence.loading else write_error(server):
        raise CommandError(refused)
    prefix = prefix.partition(b"\0")[0]
    for number in range(count):
        key = (b"%b:%d" % (prefix, number))[:_NAME_BYTES]
        if keyspace.peek_live(key) is None:
            value = b"value:%d" % number
            keyspace.put(key, value[:size].ljust(size, b"\0") if size else value)
    return OK
