"""ACL: users are told, changed and deleted, loaded and saved; and what they were denied.

What rules mean is for `kvserver.acl` to know. Here a change is carried to those who are logged in: who has lost what it
listens to, or its user, is killed by an effect, as Redis does it.
"""

from __future__ import annotations

from kvserver.acl.denials import Entry
from kvserver.acl.selector import Reason, Selector
from kvserver.acl.user import User, is_name
from kvserver.acl.users import DEFAULT, Users, merged
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, container, help_lines, wrong_subcommand
from kvserver.dispatch.effect import ChangeRights, Effect, LoadUsers, SaveUsers
from kvserver.errors import CommandError, Refusal, RuleError
from kvserver.resp.reply import OK, Reply, SetOf
from kvserver.resp.request import Request
from kvserver.state.description import CATEGORIES
from kvserver.state.session import Session

NO_FILE = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command "
    "and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis "
    "configuration."
)
# The longest password of GENPASS.
MOST_BITS = 4096
USUAL_BITS = 256
USUAL_ENTRIES = 10
# As DRYRUN tells it.
LACKS = {
    Reason.COMMAND: "This user has no permissions to run the '{}' command",
    Reason.KEY: "This user has no permissions to access the '{}' key",
    Reason.CHANNEL: "This user has no permissions to access the '{}' channel",
}

acl = container("acl",
                since="6.0.0", group="server",
                summary="A container for Access List Control commands ")  # fmt: skip


def _shown(word: bytes) -> str:
    """A word as error texts have it."""
    return word.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _words_behind(request: Request) -> range:
    """The places of the words that tell who somebody is, and how it logs in."""
    return range(2, len(request))


def _words_of_call(request: Request) -> range:
    """The places of the arguments of the call that DRYRUN looks at: whatever it calls, a password may be among them."""
    return range(4, len(request))


# --- Users ---


@command("acl|whoami", "", "noscript loading stale",
         since="6.0.0", group="server", complexity="O(1)",
         summary="Return the name of the user associated to the current connection")  # fmt: skip
def acl_whoami(session: Session, request: Request) -> Reply:
    return session.user.name


@command("acl|users", "", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of configured users.",
         summary="List the username of all the configured ACL rules")  # fmt: skip
def acl_users(session: Session, request: Request) -> Reply:
    return list(session.server.users.names)


@command("acl|list", "", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of configured users.",
         summary="List the current ACL rules in ACL config file format")  # fmt: skip
def acl_list(session: Session, request: Request) -> Reply:
    return list(session.server.users.lines())


def _rules(selector: Selector, users: Users) -> dict[Reply, Reply]:
    return {
        b"commands": selector.describe_commands(users.catalogue),
        b"keys": selector.describe_keys(),
        b"channels": selector.describe_channels(),
    }


@command("acl|getuser", "username", "admin noscript loading stale",
         since="6.0.0", group="server",
         complexity="O(N). Where N is the number of password, command and pattern rules that the user has.",
         summary="Get the rules for a specific ACL user",
         secrets=_words_behind)  # fmt: skip
def acl_getuser(session: Session, request: Request) -> Reply:
    users = session.server.users
    user = users.get(request[2])
    if user is None:
        return None
    root, *others = (_rules(selector, users) for selector in user.selectors)
    return {b"flags": SetOf(user.flags), b"passwords": list(user.passwords), **root, b"selectors": list(others)}


def _unentitled(session: Session, user: User, upcoming: User) -> list[Session]:
    """The sessions that listen as this user to something that it may hear no more with the rules to come."""
    # As in Redis, nothing is taken from one that had none: who listens has logged in as this user behind that.
    if not any(selector.all_channels or selector.channels for selector in user.selectors):
        return []
    return [
        each
        for each in session.server.sessions.values()
        if each.user is user
        and each.is_subscriber
        and not upcoming.allows_channels([*each.channels, *each.shard_channels], each.patterns)
    ]


@command("acl|setuser", "username rule?+", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of rules provided.",
         summary="Modify or create the rules for a specific ACL user",
         secrets=_words_behind)  # fmt: skip
def acl_setuser(session: Session, request: Request) -> Effect:
    """All rules are applied, or none. Subscribers who may not hear what they listen to any more are killed."""
    server, name = session.server, request[2]
    users, default = server.users, server.users.default
    if not is_name(name):
        raise CommandError("ERR Usernames can't contain spaces or null characters")
    rules = merged(request[3:])
    if isinstance(rules, bytes):
        raise CommandError(f"ERR Unmatched parenthesis in acl selector starting at '{_shown(rules)}'.")
    try:
        staged = users.staged(name, rules)
    except RuleError as error:
        raise CommandError(f"ERR {error}") from None
    present = users.get(name)
    killed = _unentitled(session, present, staged) if present else []
    was_open = default.is_open
    server.note_rights(users.put(staged))
    return ChangeRights(killed, OK, concerns_all=default.is_open != was_open)


@command("acl|deluser", "username+", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(1) amortized time considering the typical user.",
         summary="Remove the specified ACL users and the associated rules",
         secrets=_words_behind)  # fmt: skip
def acl_deluser(session: Session, request: Request) -> Effect:
    if DEFAULT in request[2:]:
        raise CommandError("ERR The 'default' user cannot be removed")
    users = session.server.users
    deleted = [user for user in map(users.delete, request[2:]) if user]
    return ChangeRights(session.server.log_out(deleted), len(deleted))


@command("acl|dryrun", "username command arg?+", "admin noscript loading stale",
         since="7.0.0", group="server", complexity="O(1).",
         summary="Returns whether the user can execute the given command without executing the command.",
         secrets=_words_of_call)  # fmt: skip
def acl_dryrun(session: Session, request: Request) -> Reply:
    server = session.server
    user = server.users.get(request[2])
    if user is None:
        raise CommandError(f"ERR User '{_shown(request[2])}' not found")
    call = request[3:]
    whole = server.commands.get(call[0].lower())
    meant = whole.meant_by(call) if whole else None
    if meant is None:
        raise CommandError(f"ERR Command '{_shown(call[0])}' not found")
    if not (len(call) == meant.arity or len(call) >= -meant.arity > 0):
        raise CommandError(f"ERR wrong number of arguments for '{meant.name}' command")
    denial = user.denial(meant, call, server.users.catalogue)
    if denial is None:
        return OK
    thing = meant.name if denial.reason is Reason.COMMAND else _shown(call[denial.place])
    return LACKS[denial.reason].format(thing).encode("utf-8", "surrogateescape")


# --- Categories, passwords ---


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
        raise CommandError(f"ERR Unknown category '{request[2][:128].decode('utf-8', 'surrogateescape')}'")
    rows = session.server.commands.values()
    return [each.name.encode() for row in rows for each in (row, *row.subcommands.values()) if category in each.categories]


@command("acl|genpass", "bits:integer?", "noscript loading stale",
         since="6.0.0", group="server", complexity="O(1)",
         summary="Generate a pseudorandom secure password to use for ACL users")  # fmt: skip
def acl_genpass(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_subcommand(request)
    bits = integer(request[2]) if len(request) == 3 else USUAL_BITS
    if not 0 < bits <= MOST_BITS:
        raise CommandError(
            f"ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MOST_BITS}"
        )
    digits = (bits + 3) // 4
    return session.server.random_bytes((digits + 1) // 2).hex()[:digits].encode()


# --- The log ---


@command("acl|log", "operation<count:integer|RESET>?", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N) with N being the number of entries shown.",
         summary="List latest events denied because of ACLs in place")  # fmt: skip
def acl_log(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_subcommand(request)
    denials = session.server.denials
    if len(request) == 3 and request[2].lower() == b"reset":
        denials.reset()
        return OK
    count = integer(request[2]) if len(request) == 3 else USUAL_ENTRIES
    now_ms = session.server.now_ms()
    return [_entry(entry, now_ms) for entry in denials.newest(max(count, 0))]


def _entry(entry: Entry, now_ms: int) -> Reply:
    return {
        b"count": entry.count,
        b"reason": entry.reason.name.lower().encode(),
        b"context": entry.context.value.encode(),
        b"object": entry.thing,
        b"username": entry.user,
        b"age-seconds": (now_ms - entry.at_ms) / 1000,
        b"client-info": entry.client,
    }


# --- The file ---


def _check_file(session: Session) -> None:
    if not session.server.config.aclfile:
        raise CommandError(NO_FILE)


def _check_queueable_load(request: Request) -> None:
    """Refuse the load, which would replace all users after the transaction has ended, whatever that makes of them."""
    raise Refusal("ERR ACL LOAD is not allowed inside a transaction")


@command("acl|load", "", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of configured users.",
         summary="Reload the ACLs from the configured ACL file",
         check_queueable=_check_queueable_load)  # fmt: skip
def acl_load(session: Session, request: Request) -> Effect:
    _check_file(session)
    return LoadUsers()


@command("acl|save", "", "admin noscript loading stale",
         since="6.0.0", group="server", complexity="O(N). Where N is the number of configured users.",
         summary="Save the current ACL rules in the configured ACL file")  # fmt: skip
def acl_save(session: Session, request: Request) -> Effect:
    _check_file(session)
    return SaveUsers()


HELP = """CAT [<category>]
    List all commands that belong to <category>, or all command categories
    when no category is specified.
DELUSER <username> [<username> ...]
    Delete a list of users.
DRYRUN <username> <command> [<arg> ...]
    Returns whether the user can execute the given command without executing the command.
GETUSER <username>
    Get the user's details.
GENPASS [<bits>]
    Generate a secure 256-bit user password. The optional `bits` argument can
    be used to specify a different size.
LIST
    Show users details in config file format.
LOAD
    Reload users from the ACL file.
LOG [<count> | RESET]
    Show the ACL log entries.
SAVE
    Save the current config to the ACL file.
SETUSER <username> <attribute> [<attribute> ...]
    Create or modify a user with the specified attributes.
USERS
    List all the registered usernames.
WHOAMI
    Return the current connection username."""


@command("acl|help", "", "loading stale",
         since="6.0.0", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def acl_help(session: Session, request: Request) -> Reply:
    return help_lines("ACL", HELP)
