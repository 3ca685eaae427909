"""ACL: the commands that tell of the one user there is, `default`, who may do everything. They must never change a user."""

from __future__ import annotations

import hashlib

from kvserver.dispatch.command import command, container, help_lines, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, SetOf
from kvserver.resp.request import Request
from kvserver.state.description import CATEGORIES
from kvserver.state.session import Session

USER = b"default"


def _password_hashes(session: Session) -> list[bytes]:
    password = session.server.config.requirepass
    return [hashlib.sha256(password).hexdigest().encode()] if password else []


acl = container("acl",
                since="6.0.0", group="server",
                summary="A container for Access List Control commands ")  # fmt: skip


@command("acl|whoami", "", "noscript loading stale",
         since="6.0.0", group="server", complexity="O(1)",
         summary="Return the name of the user associated to the current connection")  # fmt: skip
def acl_whoami(session: Session, request: Request) -> Reply:
    return USER


@command("acl|users", "", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of configured users.",
         summary="List the username of all the configured ACL rules")  # fmt: skip
def acl_users(session: Session, request: Request) -> Reply:
    return [USER]


@command("acl|list", "", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of configured users.",
         summary="List the current ACL rules in ACL config file format")  # fmt: skip
def acl_list(session: Session, request: Request) -> Reply:
    hashes = _password_hashes(session)
    return [b"user default on %b ~* &* +@all" % (b"#" + hashes[0] if hashes else b"nopass")]


@command("acl|getuser", "username", "admin noscript loading stale",
         since="6.0.0", group="server",
         complexity="O(N). Where N is the number of password, command and pattern rules that the user has.",
         summary="Get the rules for a specific ACL user")  # fmt: skip
def acl_getuser(session: Session, request: Request) -> Reply:
    if request[2] != USER:
        return None
    hashes = _password_hashes(session)
    return {
        b"flags": SetOf([b"on"] if hashes else [b"on", b"nopass"]),
        b"passwords": list(hashes),
        b"commands": b"+@all",
        b"keys": b"~*",
        b"channels": b"&*",
        b"selectors": [],
    }


@command("acl|cat", "categoryname?", "noscript loading stale",
         since="6.0.0", group="server", complexity="O(1) since the categories and commands are a fixed set.",
         summary="List the ACL categories or the commands inside a category")  # fmt: skip
def acl_cat(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_subcommand(request)
    if len(request) == 2:
        return [category.removeprefix("@").encode() for category in CATEGORIES]
    category = "@" + request[2].decode("utf-8", "surrogateescape").lower()
    if category not in CATEGORIES:
        raise CommandError(f"ERR Unknown category '{request[2].decode('utf-8', 'surrogateescape')}'")
    rows = session.server.commands.values()
    return [each.name.encode() for row in rows for each in (row, *row.subcommands.values()) if category in each.categories]


HELP = """CAT [<category>]
    List all commands that belong to <category>, or all command categories
    when no category is specified.
GETUSER <username>
    Get the user's details.
LIST
    Show users details in config file format.
USERS
    List all the registered usernames.
WHOAMI
    Return the current connection username."""


@command("acl|help", "", "loading stale",
         since="6.0.0", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def acl_help(session: Session, request: Request) -> Reply:
    return help_lines("ACL", HELP)
