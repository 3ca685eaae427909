"""CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: a client keeps what it reads, and wants to be told when that changes.

Here is what a client says of itself. What it may hold, and what it is told, is for `state.tracking` to know.
"""

from __future__ import annotations

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect, Switch
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, SetOf
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.state.tracking import Mode

SWITCHED_BROADCAST = (
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a "
    "different mode."
)
SWITCHED_OPTIONS = (
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a "
    "different mode."
)
NO_CACHING = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"


def _read(session: Session, request: Request) -> tuple[Mode, list[bytes]]:
    """The mode and the prefixes that the words say. They are read in order, since REDIRECT is checked as it comes."""
    redirect = 0
    prefixes: list[bytes] = []
    flags: set[bytes] = set()
    rest = list(reversed(request[3:]))
    while rest:
        option = rest.pop().upper()
        if option == b"REDIRECT" and rest:
            number = rest.pop()
            if redirect:
                raise CommandError("ERR A client can only redirect to a single other client")
            redirect = integer(number)
            if redirect not in session.server.sessions:
                raise CommandError("ERR The client ID you want redirect to does not exist")
        elif option == b"PREFIX" and rest:
            prefixes.append(rest.pop())
        elif option in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
            flags.add(option)
        else:
            raise CommandError(SYNTAX_ERROR)
    return Mode(redirect, b"BCAST" in flags, b"OPTIN" in flags, b"OPTOUT" in flags, b"NOLOOP" in flags), prefixes


def _check(session: Session, mode: Mode, prefixes: list[bytes]) -> None:
    """CommandError where options exclude each other, or the mode that the client has, or where prefixes overlap."""
    tracker = session.tracker
    before = tracker.mode if tracker else mode
    if prefixes and not mode.broadcasts:
        raise CommandError("ERR PREFIX option requires BCAST mode to be enabled")
    if before.broadcasts != mode.broadcasts:
        raise CommandError(SWITCHED_BROADCAST)
    if mode.broadcasts and (mode.opts_in or mode.opts_out):
        raise CommandError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if mode.opts_in and mode.opts_out:
        raise CommandError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if (mode.opts_in and before.opts_out) or (mode.opts_out and before.opts_in):
        raise CommandError(SWITCHED_OPTIONS)
    check_apart(prefixes, tracker.prefixes if tracker else set())


def check_apart(prefixes: list[bytes], present: set[bytes]) -> None:
    """CommandError if a key may have two of the prefixes, or one of them and a present one: each key is to be told once.

    The two that Redis would name are named: it compares each with each, which here would take seconds for some thousands.
    """
    overlapping: set[bytes] = set()
    first = None
    # In this order, all that begin with a prefix stand right behind it.
    for prefix in sorted([*present, *prefixes]):
        if first is not None and prefix.startswith(first):
            overlapping |= {first, prefix}
        else:
            first = prefix
    if not overlapping:
        return
    place, one = next((place, prefix) for place, prefix in enumerate(prefixes) if prefix in overlapping)
    others = [("an existing prefix", other) for other in sorted(present)]
    others += [("another provided prefix", other) for other in prefixes[place + 1 :]]
    which, two = next((which, other) for which, other in others if one.startswith(other) or other.startswith(one))
    names = [each.decode("utf-8", "surrogateescape") for each in (one, two)]
    raise CommandError(
        f"ERR Prefix '{names[0]}' overlaps with {which} '{names[1]}'. Prefixes for a single client must not overlap."
    )


@command("client|tracking", "status<ON|OFF> REDIRECT=client-id:integer? PREFIX=prefix?++ BCAST? OPTIN? OPTOUT? NOLOOP?",
         "noscript loading stale",
         since="6.0.0", group="connection", complexity="O(1). Some options may introduce additional complexity.",
         summary="Enable or disable server assisted client side caching support")  # fmt: skip
def client_tracking(session: Session, request: Request) -> Effect:
    mode, prefixes = _read(session, request)
    tracking = session.server.tracking
    match request[2].lower():
        case b"on":
            _check(session, mode, prefixes)
            tracking.enable(session, mode, prefixes or [b""] if mode.broadcasts else [])
        case b"off":
            tracking.disable(session)
        case _:
            raise CommandError(SYNTAX_ERROR)
    return Switch(OK)


@command("client|caching", "mode<YES|NO>", "noscript loading stale",
         since="6.0.0", group="connection", complexity="O(1)",
         summary="Instruct the server about tracking or not keys in the next request")  # fmt: skip
def client_caching(session: Session, request: Request) -> Reply:
    tracker = session.tracker
    if tracker is None:
        raise CommandError(NO_CACHING)
    match request[2].lower():
        case b"yes":
            if not tracker.mode.opts_in:
                raise CommandError("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        case b"no":
            if not tracker.mode.opts_out:
                raise CommandError("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        case _:
            raise CommandError(SYNTAX_ERROR)
    tracker.is_chosen = True
    return OK


@command("client|trackinginfo", "", "noscript loading stale",
         since="6.2.0", group="connection", complexity="O(1)",
         summary="Return information about server assisted client side caching for the current connection")  # fmt: skip
def client_trackinginfo(session: Session, request: Request) -> Reply:
    tracker = session.tracker
    if tracker is None:
        return {b"flags": SetOf([b"off"]), b"redirect": -1, b"prefixes": []}
    mode = tracker.mode
    flags = {
        b"on": True,
        b"bcast": mode.broadcasts,
        b"optin": mode.opts_in,
        b"caching-yes": mode.opts_in and tracker.is_chosen,
        b"optout": mode.opts_out,
        b"caching-no": mode.opts_out and tracker.is_chosen,
        b"noloop": mode.skips_own,
        b"broken_redirect": tracker.is_broken,
    }
    prefixes: list[Reply] = [*sorted(tracker.prefixes)]
    return {
        b"flags": SetOf(flag for flag, holds in flags.items() if holds),
        b"redirect": mode.redirect,
        b"prefixes": prefixes,
    }


@command("client|getredir", "", "noscript loading stale",
         since="6.0.0", group="connection", complexity="O(1)",
         summary="Get tracking notifications redirection client ID if any")  # fmt: skip
def client_getredir(session: Session, request: Request) -> Reply:
    return session.tracker.mode.redirect if session.tracker else -1
