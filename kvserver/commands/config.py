"""CONFIG: options are read and changed, statistics are reset, the configuration file is rewritten.

SET changes the options of the session's server; the engine acts on the change, and writes the file. No option is known here
by its name, but for secrets that Redis has and kvserver does not use.
"""

from __future__ import annotations

from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.command import command, container, help_lines
from kvserver.dispatch.effect import Effect, Reconfigure, RewriteConfig
from kvserver.errors import CommandError, ConfigSetError
from kvserver.options.table import OPTIONS
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

config = container("config",
                   since="2.0.0", group="server",
                   summary="A container for server configuration commands")  # fmt: skip


@command("config|get", "parameter{parameter}+", "admin noscript loading stale",
         since="2.0.0", group="server", complexity="O(N) when N is the number of configuration parameters provided",
         summary="Get the values of configuration parameters")  # fmt: skip
def config_get(session: Session, request: Request) -> Reply:
    found = session.server.config.get_matching(request[2:])
    return dict(found.items())


# Redis's passwords that mean nothing here are secrets as well: a slow log must not show them.
SECRET_OPTIONS = {option.name.encode() for option in OPTIONS if option.kind.is_secret} | {
    b"masterauth",
    b"masteruser",
    b"tls-client-key-file-pass",
}


def _secrets_of_set(request: Request) -> list[int]:
    return [place + 1 for place in range(2, len(request), 2) if request[place].lower() in SECRET_OPTIONS]


@command("config|set", "parameter_value{parameter value}+", "admin noscript loading stale",
         since="2.0.0", group="server", complexity="O(N) when N is the number of configuration parameters provided",
         tips="request_policy:all_nodes response_policy:all_succeeded",
         summary="Set configuration parameters to the given values",
         secrets=_secrets_of_set)  # fmt: skip
def config_set(session: Session, request: Request) -> Reply | Effect:
    if len(request) % 2:
        raise CommandError(SYNTAX_ERROR)
    try:
        names = session.server.config.set(list(zip(request[2::2], request[3::2], strict=True)), is_local=session.is_local)
    except ConfigSetError as error:
        raise CommandError(str(error)) from None
    return Reconfigure(names, OK)


@command("config|resetstat", "", "admin noscript loading stale",
         since="2.0.0", group="server", complexity="O(1)",
         summary="Reset the stats returned by INFO")  # fmt: skip
def config_resetstat(session: Session, request: Request) -> Reply:
    session.server.reset_statistics()
    return OK


@command("config|rewrite", "", "admin noscript loading stale",
         since="2.8.0", group="server", complexity="O(1)",
         summary="Rewrite the configuration file with the in memory configuration")  # fmt: skip
def config_rewrite(session: Session, request: Request) -> Effect:
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


@command("config|help", "", "loading stale",
         since="5.0.0", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def config_help(session: Session, request: Request) -> Reply:
    return help_lines("CONFIG", HELP)
