"""DELIFEQ and DELEX: a string is deleted if it is, or is not, what the caller thinks.

They are Valkey's (9.0) and Redis's (8.4), as far as the documents of both agree. The digests by which Redis's IFDEQ and IFDNE
compare are not here: Valkey has none.
"""

from __future__ import annotations

from kvserver.dispatch.command import command
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.commands import is_met


def _delete_if(session: Session, key: bytes, condition: str | None, wanted: bytes) -> int:
    present = session.keyspace.live(key)
    if present is None or (condition and not is_met(condition, present, wanted)):
        return 0
    session.keyspace.remove(key)
    return 1


@command("delifeq", "key:key value", "write fast", access="RW access delete",
         since="9.0.0", group="string", complexity="O(1)",
         summary="Delete key if value matches string.")  # fmt: skip
def delifeq(session: Session, request: Request) -> Reply:
    return _delete_if(session, request[1], "IFEQ", request[2])


@command("delex", "key:key condition<IFEQ=ifeq-value|IFNE=ifne-value>?", "write fast",
         access="RW access delete variable_flags", since="8.4.0", group="string", complexity="O(1)",
         summary="Conditionally removes the specified key based on value comparison.")  # fmt: skip
def delex(session: Session, request: Request) -> Reply:
    """Without a condition, a value of any kind is deleted."""
    condition = (options := delex.options(request)).chosen("condition")
    return _delete_if(session, request[1], condition, options[condition] if condition else b"")
