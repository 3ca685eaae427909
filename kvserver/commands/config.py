"""CONFIG: options are read and changed, statistics reset, the configuration file is written."""

from __future__ import annotations

from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.effect import Effect, Reconfigure, RewriteConfig
from kvserver.dispatch.row import NO_KEYS, Command, container, help_lines
from kvserver.errors import CommandError, ConfigSetError
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import Session


def config_get(session: Session, args: list[bytes]) -> Reply:
    found = session.server.config.get_matching(args[2:])
    return dict(found.items())


def config_set(session: Session, args: list[bytes]) -> Reply | Effect:
    if len(args) % 2:
        raise CommandError(SYNTAX_ERROR)
    try:
        names = session.server.config.set(list(zip(args[2::2], args[3::2], strict=True)), is_local=session.is_local)
    except ConfigSetError as error:
        raise CommandError(str(error)) from None
    return Reconfigure(names, OK)


def config_resetstat(session: Session, args: list[bytes]) -> Reply:
    state = session.server
    state.usages.reset(args)
    state.counters.reset()
    data = state.keyspace
    data.expired = data.evicted = data.hits = data.misses = data.missed_gets = 0
    state.journal.delayed_syncs = state.journal.rewrites = state.journal.rewrites_failed = 0
    return OK


def config_rewrite(session: Session, args: list[bytes]) -> Effect:
    if not session.server.config.file:
        raise CommandError("ERR The server is running without a config file")
    return RewriteConfig()


HELP = """GET <pattern>
    Return parameters matching the glob-like <pattern> and their values.
SET <directive> <value>
    Set the configuration <directive> to <value>.
RESETSTAT
    Reset statistics reported by the INFO command.
REWRITE
    Rewrite the configuration file."""


def config_help(session: Session, args: list[bytes]) -> Reply:
    return help_lines("CONFIG", HELP)


_FLAGS = ("admin", "noscript", "loading", "stale")

SUBCOMMANDS = (
    Command("config|get", -3, _FLAGS, NO_KEYS, config_get, "Get the values of configuration parameters", "2.0.0",
            "server", "O(N) when N is the number of configuration parameters provided"),
    Command("config|help", 2, ("loading", "stale"), NO_KEYS, config_help,
            "Show helpful text about the different subcommands", "5.0.0", "server", "O(1)"),
    Command("config|resetstat", 2, _FLAGS, NO_KEYS, config_resetstat, "Reset the stats returned by INFO", "2.0.0", "server",
            "O(1)"),
    Command("config|rewrite", 2, _FLAGS, NO_KEYS, config_rewrite,
            "Rewrite the configuration file with the in memory configuration", "2.8.0", "server", "O(1)"),
    Command("config|set", -4, _FLAGS, NO_KEYS, config_set, "Set configuration parameters to the given values", "2.0.0",
            "server", "O(N) when N is the number of configuration parameters provided"),
)  # fmt: skip

COMMANDS = (
    Command("config", -2, (), NO_KEYS, container(SUBCOMMANDS),
            "A container for server configuration commands", "2.0.0", "server", "Depends on subcommand.", SUBCOMMANDS),
)  # fmt: skip
