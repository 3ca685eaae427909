"""`Command`, the row of data that describes a command, and what every handler raises for wrong arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from kvserver.commands.effect import Effect
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply, Simple
from kvserver.state.session import Session

Handler = Callable[[Session, list[bytes]], Reply | Effect]


class Many(NamedTuple):
    """What runs several calls of a command at once, all of so many words, where a client sent them in one go.

    `run` appends the replies to the output, as they are sent, of as many calls as it got through: how many is what it returns.
    The rest is run one by one; so it stops before a call that is anything but ordinary.
    """

    width: int
    run: Callable[[Session, list[list[bytes]], list[bytes]], int]


NO_KEYS = (0, 0, 0)
FIRST_KEY = (1, 1, 1)
ALL_KEYS = (1, -1, 1)
ANY_NUMBER = 2**31

# In the order in which COMMAND INFO names them.
FLAGS: Final = (
    "write", "readonly", "denyoom", "module", "admin", "pubsub", "noscript", "blocking", "loading", "stale", "skip_monitor",
    "skip_slowlog", "asking", "fast", "no_auth", "may_replicate", "sentinel", "only_sentinel", "no_mandatory_keys",
    "protected", "touches_arbitrary_keys", "no_async_loading", "no_multi", "allow_busy", "movablekeys",
)  # fmt: skip
CATEGORIES: Final = (
    "@keyspace", "@read", "@write", "@set", "@sortedset", "@list", "@hash", "@string", "@bitmap", "@hyperloglog", "@geo",
    "@stream", "@pubsub", "@admin", "@fast", "@slow", "@blocking", "@dangerous", "@connection", "@transaction", "@scripting",
    "@json",
)  # fmt: skip
_CATEGORY_OF_FLAG: Final = {
    "readonly": "@read",
    "write": "@write",
    "pubsub": "@pubsub",
    "admin": "@admin",
    "blocking": "@blocking",
}
_CATEGORY_OF_GROUP: Final = {
    "generic": "@keyspace",
    "string": "@string",
    "bitmap": "@bitmap",
    "connection": "@connection",
    "transactions": "@transaction",
    "json": "@json",
}
_MORE_CATEGORIES: Final = {
    "command": {"@connection"},
    "dbsize": {"@keyspace"},
    "flushall": {"@keyspace", "@dangerous"},
    "flushdb": {"@keyspace", "@dangerous"},
    "info": {"@dangerous"},
    "keys": {"@dangerous"},
    "lastsave": {"@admin", "@dangerous"},
    "restore": {"@dangerous"},
    "role": {"@admin", "@dangerous"},
    "swapdb": {"@keyspace", "@dangerous"},
    "wait": {"@connection"},
}


class Command(NamedTuple):
    """One command. Fields are those of Redis's COMMAND and COMMAND DOCS.

    `arity` counts the name; a negative one is the least number. `keys`: position of the first and last key and the step.
    Flags with a meaning here: write (refused while the medium fails), loading (runs while data is loaded), no_auth.
    `many`: what runs several calls of it at once, where that is worth having.
    """

    name: str
    arity: int
    flags: tuple[str, ...]
    keys: tuple[int, int, int]
    handler: Handler
    summary: str
    since: str
    group: str
    complexity: str
    subcommands: tuple[Command, ...] = ()
    many: Many | None = None

    @property
    def arities(self) -> range:
        """How many words a call may have."""
        return range(self.arity, self.arity + 1) if self.arity >= 0 else range(-self.arity, ANY_NUMBER)

    @property
    def categories(self) -> list[str]:
        """The ACL categories that follow from flags, group and name, in Redis's order."""
        flags = self.flags
        found = {category for flag, category in _CATEGORY_OF_FLAG.items() if flag in flags}
        found |= {"@fast" if "fast" in flags else "@slow"} | _MORE_CATEGORIES.get(self.name.partition("|")[0], set())
        if "admin" in flags:
            found.add("@dangerous")
        if self.group in _CATEGORY_OF_GROUP and self.name != "wait" and not self.subcommands:
            found.add(_CATEGORY_OF_GROUP[self.group])
        return [category for category in CATEGORIES if category in found]

    @property
    def all_flags(self) -> list[str]:
        """The flags in Redis's order."""
        return sorted(self.flags, key=FLAGS.index)


def wrong_arity(name: str, kind: type[CommandError] = CommandError) -> CommandError:
    """The error for a wrong number of arguments; `name` as Redis prints it: `get`, `client|id`."""
    return kind(f"ERR wrong number of arguments for '{name}' command")


def wrong_subcommand(args: list[bytes]) -> CommandError:
    """The error for a subcommand whose arguments no form of it takes."""
    name, word = (part.decode("utf-8", "surrogateescape") for part in (args[0].upper(), args[1]))
    return CommandError(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try {name} HELP.")


def container(commands: tuple[Command, ...], alone: Handler | None = None) -> Handler:
    """The handler of a command that is only its subcommands; `alone` runs where it is given without one."""
    rows = {row.name.partition("|")[2].encode(): row for row in commands}

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        if len(args) == 1 and alone is not None:
            return alone(session, args)
        row = _subcommand(rows, args)
        session.last_command = row.name.encode()
        return row.handler(session, args)

    return run


def help_lines(name: str, text: str) -> list[Reply]:
    """The reply to HELP of a container."""
    head, tail = f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", ("HELP", "    Prints this help.")
    return [Simple(line) for line in (head, *text.splitlines(), *tail)]


def resolve(row: Command, args: list[bytes]) -> Command:
    """The row that the words of a command mean: the subcommand's, if it has some. CommandError if that can't run."""
    if len(args) not in row.arities:
        raise wrong_arity(row.name, Refusal)
    if not row.subcommands or len(args) == 1:
        return row
    return _subcommand({each.name.partition("|")[2].encode(): each for each in row.subcommands}, args)


def _subcommand(rows: Mapping[bytes, Command], args: list[bytes]) -> Command:
    row = rows.get(args[1].lower())
    if row is None:
        name = next(iter(rows.values())).name.partition("|")[0].upper()
        raise Refusal(f"ERR unknown subcommand '{_excerpt(args[1])}'. Try {name} HELP.")
    if len(args) not in row.arities:
        raise wrong_arity(row.name, Refusal)
    return row


def _excerpt(word: bytes) -> str:
    # Redis prints the first 128 bytes, and they end at a NUL.
    return word[:128].partition(b"\0")[0].decode("utf-8", "surrogateescape")


def unknown_command(args: list[bytes]) -> Refusal:
    """The error for a command that does not exist, with the excerpt of its arguments that Redis gives."""
    excerpt = b""
    for argument in args[1:]:
        if len(excerpt) >= 128:
            break
        excerpt += b"'%b' " % argument[: 128 - len(excerpt)].partition(b"\0")[0]
    text = b"ERR unknown command '%b', with args beginning with: %b" % (args[0][:128].partition(b"\0")[0], excerpt)
    return Refusal(text.decode("utf-8", "surrogateescape"))
