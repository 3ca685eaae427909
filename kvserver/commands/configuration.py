"""CONFIG GET and CONFIG SET."""

from __future__ import annotations

from kvserver.commands.arguments import SYNTAX_ERROR
from kvserver.commands.effect import Effect, Reconfigure
from kvserver.commands.row import NO_KEYS, Command, container
from kvserver.config import ConfigSetError
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.session import Session


def config_get(session: Session, args: list[bytes]) -> Reply:
    found = session.server.config.get_matching(args[2:])
    return dict(found.items())


def config_set(session: Session, args: list[bytes]) -> Reply | Effect:
    if len(args) % 2:
        raise CommandError(SYNTAX_ERROR)
    try:
        names = session.server.config.set(list(zip(args[2::2], args[3::2], strict=True)))
    except ConfigSetError as error:
        raise CommandError(str(error)) from None
    return Reconfigure(names, OK)


HELP = """CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
GET <pattern>
    Return parameters matching the glob-like <pattern> and their values.
SET <directive> <value>
    Set the configuration <directive> to <value>.
HELP
    Print this help."""


def config_help(session: Session, args: list[bytes]) -> Reply:
    return [Simple(line) for line in HELP.splitlines()]


_FLAGS = ("admin", "noscript", "loading", "stale")

SUBCOMMANDS = (
    Command("config|get", -3, _FLAGS, NO_KEYS, config_get, "Get the values of configuration parameters", "2.0.0",
            "server", "O(N) when N is the number of configuration parameters provided"),
    Command("config|set", -4, _FLAGS, NO_KEYS, config_set, "Set configuration parameters to the given values", "2.0.0",
            "server", "O(N) when N is the number of configuration parameters provided"),
    Command("config|help", 2, ("loading", "stale"), NO_KEYS, config_help,
            "Show helpful text about the different subcommands", "5.0.0", "server", "O(1)"),
)  # fmt: skip

COMMANDS = (
    Command("config", -2, (), NO_KEYS, container(SUBCOMMANDS),
            "A container for server configuration commands", "2.0.0", "server", "Depends on subcommand.", SUBCOMMANDS),
)  # fmt: skip
