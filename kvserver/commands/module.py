"""MODULE: no module is ever there. LIST tells that, and what would load or unload one is refused as Redis does by default."""

from __future__ import annotations

from functools import partial
from typing import Final, NoReturn

from kvserver.dispatch.command import Command, command, container, help_lines
from kvserver.errors import Refusal
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

NOT_ALLOWED: Final = (
    'ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a '
    "local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)

module = container("module",
                   since="4.0.0", group="server",
                   summary="A container for module commands")  # fmt: skip


@command("module|list", "", "admin noscript",
         since="4.0.0", group="server", complexity="O(N) where N is the number of loaded modules.",
         tips="nondeterministic_output_order",
         summary="List all modules loaded by the server")  # fmt: skip
def module_list(session: Session, request: Request) -> Reply:
    return []


def _refuse(request: Request) -> NoReturn:
    raise Refusal(NOT_ALLOWED)


_protected = partial(
    Command, lambda session, request: _refuse(request), flags="admin noscript no_async_loading", group="server",
    complexity="O(1)", check_queueable=_refuse,
)  # fmt: skip

load = _protected("module|load", "path arg?+", since="4.0.0", summary="Load a module")
loadex = _protected("module|loadex", "path CONFIG=configs{name value}?++ ARGS=args{arg}?+",
                    since="7.0.0", summary="Load a module with extended parameters")  # fmt: skip
unload = _protected("module|unload", "name", since="4.0.0", summary="Unload a module")

HELP: Final = """LIST
    Return a list of loaded modules.
LOAD <path> [<arg> ...]
    Load a module library from <path>, passing to it any optional arguments.
LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]
    Load a module library from <path>, while passing it module configurations and optional arguments.
UNLOAD <name>
    Unload a module."""


@command("module|help", "", "loading stale",
         since="5.0.0", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def module_help(session: Session, request: Request) -> Reply:
    return help_lines("MODULE", HELP)
