"""`Command`, the row of the table of commands: a description and a handler. And what is raised for words that call none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kvserver.dispatch.effect import Effect
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply, Simple
from kvserver.state.description import Description, KeyPositions
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


class Command(Description):
    """One command, and what runs it: `handler`, and `many`, where it is worth having, for several calls at once."""

    __slots__ = ("handler", "many")

    subcommands: Sequence[Command]

    def __init__(
        self,
        name: str,
        arity: int,
        flags: tuple[str, ...],
        keys: KeyPositions,
        handler: Handler,
        summary: str,
        since: str,
        group: str,
        complexity: str,
        subcommands: Sequence[Command] = (),
        many: Many | None = None,
    ) -> None:
        super().__init__(name, arity, flags, keys, summary, since, group, complexity, subcommands)
        self.handler = handler
        self.many = many


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
