"""CLIENT ID, SETNAME, GETNAME, SETINFO, INFO, LIST, HELP: what a client says about itself, and the list of clients.

Subcommands that act on connections are in `client_control`; here only the client's own names are changed.
"""

from __future__ import annotations

from kvserver.commands.client_control import check_client_type, client_type
from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command, container, help_lines
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Verbatim
from kvserver.resp.request import Request
from kvserver.state.client_line import describe
from kvserver.state.session import Session


def check_client_name(name: bytes) -> None:
    """CommandError unless all bytes are printable ASCII other than the space."""
    if any(not 33 <= byte <= 126 for byte in name):
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")


client = container("client",
                   since="2.4.0", group="connection",
                   summary="A container for client connection commands")  # fmt: skip


@command("client|id", "", "noscript loading stale",
         since="5.0.0", group="connection", complexity="O(1)",
         summary="Returns the client ID for the current connection")  # fmt: skip
def client_id(session: Session, request: Request) -> Reply:
    return session.id


@command("client|setname", "connection-name", "noscript loading stale",
         since="2.6.9", group="connection", complexity="O(1)",
         summary="Set the current connection name")  # fmt: skip
def client_setname(session: Session, request: Request) -> Reply:
    check_client_name(request[2])
    session.name = request[2]
    return OK


@command("client|getname", "", "noscript loading stale",
         since="2.6.9", group="connection", complexity="O(1)",
         summary="Get the current connection name")  # fmt: skip
def client_getname(session: Session, request: Request) -> Reply:
    return session.name or None


@command("client|setinfo", "attr<LIB-NAME=libname|LIB-VER=libver>", "noscript loading stale",
         since="7.2.0", group="connection", complexity="O(1)",
         summary="Set client or connection specific info")  # fmt: skip
def client_setinfo(session: Session, request: Request) -> Reply:
    attribute = request[2].lower()
    if attribute not in (b"lib-name", b"lib-ver"):
        raise CommandError(f"ERR Unrecognized option '{request[2].decode('utf-8', 'surrogateescape')}'")
    if any(not 33 <= byte <= 126 for byte in request[3]):
        name = attribute.decode()
        raise CommandError(f"ERR {name} cannot contain spaces, newlines or special characters.")
    if attribute == b"lib-name":
        session.lib_name = request[3]
    else:
        session.lib_ver = request[3]
    return OK


@command("client|info", "", "noscript loading stale",
         since="6.2.0", group="connection", complexity="O(1)", tips="nondeterministic_output",
         summary="Returns information about the current client connection.")  # fmt: skip
def client_info(session: Session, request: Request) -> Reply:
    return Verbatim(describe(session, request) + b"\n")


@command("client|list",
         "TYPE=normal_master_replica_pubsub<NORMAL|MASTER|REPLICA|PUBSUB>?@5.0.0 ID=id{client-id:integer+}?@6.2.0",
         "admin noscript loading stale",
         since="2.4.0", group="connection", complexity="O(N) where N is the number of client connections",
         tips="nondeterministic_output",
         summary="Get the list of client connections")  # fmt: skip
def client_list(session: Session, request: Request) -> Reply:
    # The options are read by hand: there is one at most, and the errors about it have texts of their own.
    sessions = session.server.sessions
    chosen = list(sessions.values())
    match [request[2].upper() if len(request) > 2 else b"", *request[3:]]:
        case [b""]:
            pass
        case [b"TYPE", kind]:
            check_client_type(kind)
            chosen = [other for other in chosen if client_type(other) == kind.lower()]
        case [b"ID", _, *_]:
            ids = [integer(word, "ERR Invalid client ID") for word in request[3:]]
            chosen = [sessions[number] for number in ids if number in sessions]
        case _:
            raise CommandError(SYNTAX_ERROR)
    return Verbatim(b"".join(describe(other, request if other is session else []) + b"\n" for other in chosen))


HELP = """CACHING (YES|NO)
    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.
GETREDIR
    Return the client ID we are redirecting to when tracking is enabled.
GETNAME
    Return the name of the current connection.
ID
    Return the ID of the current connection.
INFO
    Return information about the current client connection.
KILL <ip:port>
    Kill connection made from <ip:port>.
KILL <option> <value> [<option> <value> [...]]
    Kill connections. Options are:
    * ADDR (<ip:port>|<unixsocket>:0)
      Kill connections made from the specified address
    * LADDR (<ip:port>|<unixsocket>:0)
      Kill connections made to specified local address
    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)
      Kill connections by type.
    * USER <username>
      Kill connections authenticated by <username>.
    * SKIPME (YES|NO)
      Skip killing current connection (default: yes).
LIST [options ...]
    Return information about client connections. Options:
    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)
      Return clients of specified type.
UNPAUSE
    Stop the current client pause, resuming traffic.
PAUSE <timeout> [WRITE|ALL]
    Suspend all, or just write, clients for <timeout> milliseconds.
REPLY (ON|OFF|SKIP)
    Control the replies sent to the current connection.
SETINFO (LIB-NAME|LIB-VER) <value>
    Set the name or version of the client library.
SETNAME <name>
    Assign the name <name> to the current connection.
UNBLOCK <clientid> [TIMEOUT|ERROR]
    Unblock the specified blocked client.
TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]
         [OPTIN] [OPTOUT] [NOLOOP]
    Control server assisted client side caching.
TRACKINGINFO
    Report tracking status for the current connection.
NO-EVICT (ON|OFF)
    Protect current client connection from eviction.
NO-TOUCH (ON|OFF)
    Will not touch LRU/LFU stats when this mode is on."""


@command("client|help", "", "loading stale",
         since="5.0.0", group="connection", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def client_help(session: Session, request: Request) -> Reply:
    return help_lines("CLIENT", HELP)
