"""ACL, as far as there is something to say: one user, `default`, who may do everything."""

from __future__ import annotations

import hashlib

from kvserver.dispatch.row import NO_KEYS, Command, container, help_lines, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, SetOf
from kvserver.state.description import CATEGORIES
from kvserver.state.session import Session

USER = b"default"


def _password_hashes(session: Session) -> list[bytes]:
    password = session.server.config.requirepass
    return [hashlib.sha256(password).hexdigest().encode()] if password else []


def acl_whoami(session: Session, args: list[bytes]) -> Reply:
    return USER


def acl_users(session: Session, args: list[bytes]) -> Reply:
    return [USER]


def acl_list(session: Session, args: list[bytes]) -> Reply:
    hashes = _password_hashes(session)
    return [b"user default on %b ~* &* +@all" % (b"#" + hashes[0] if hashes else b"nopass")]


def acl_getuser(session: Session, args: list[bytes]) -> Reply:
    if args[2] != USER:
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


def acl_cat(session: Session, args: list[bytes]) -> Reply:
    if len(args) > 3:
        raise wrong_subcommand(args)
    if len(args) == 2:
        return [category.removeprefix("@").encode() for category in CATEGORIES]
    category = "@" + args[2].decode("utf-8", "surrogateescape").lower()
    if category not in CATEGORIES:
        raise CommandError(f"ERR Unknown category '{args[2].decode('utf-8', 'surrogateescape')}'")
    rows = session.server.commands.values()
    return [each.name.encode() for row in rows for each in (row, *row.subcommands) if category in each.categories]


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


def acl_help(session: Session, args: list[bytes]) -> Reply:
    return help_lines("ACL", HELP)


_READING = ("noscript", "loading", "stale")
_ADMIN = ("admin", *_READING)

SUBCOMMANDS = (
    Command("acl|cat", -2, _READING, NO_KEYS, acl_cat, "List the ACL categories or the commands inside a category", "6.0.0",
            "server", "O(1) since the categories and commands are a fixed set."),
    Command("acl|getuser", 3, _ADMIN, NO_KEYS, acl_getuser, "Get the rules for a specific ACL user", "6.0.0", "server",
            "O(N). Where N is the number of password, command and pattern rules that the user has."),
    Command("acl|help", 2, ("loading", "stale"), NO_KEYS, acl_help, "Show helpful text about the different subcommands",
            "6.0.0", "server", "O(1)"),
    Command("acl|list", 2, _ADMIN, NO_KEYS, acl_list, "List the current ACL rules in ACL config file format", "6.0.0",
            "server", "O(N). Where N is the number of configured users."),
    Command("acl|users", 2, _ADMIN, NO_KEYS, acl_users, "List the username of all the configured ACL rules", "6.0.0",
            "server", "O(N). Where N is the number of configured users."),
    Command("acl|whoami", 2, _READING, NO_KEYS, acl_whoami,
            "Return the name of the user associated to the current connection", "6.0.0", "server", "O(1)"),
)  # fmt: skip

COMMANDS = (
    Command("acl", -2, (), NO_KEYS, container(SUBCOMMANDS), "A container for Access List Control commands ", "6.0.0",
            "server", "Depends on subcommand.", SUBCOMMANDS),
)  # fmt: skip
