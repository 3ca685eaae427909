"""JSON.TYPE, JSON.RESP and JSON.DEBUG: what documents consist of."""

from __future__ import annotations

from kvserver.dispatch.command import command, container
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import works_ahead
from kvserver.types.json.document import read_document, size_of
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.places import NO_PATH, integer_reply, name_of, path_at


@command("json.type", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the types of the JSON values at a path")  # fmt: skip
@works_ahead()
def json_type(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    document = read_document(session.keyspace, request[1])
    reply: Reply = None
    if document is not None and not path.is_legacy:
        reply = [name_of(value).encode() for value in path.values(document.root)]
    elif document is not None:
        value = path.first(document.root)
        reply = None if value is NOTHING else name_of(value).encode()
    return [reply] if session.protocol == 3 else reply


_ARRAY, _OBJECT = Simple("["), Simple("{")
_BOOLEANS = {True: Simple("true"), False: Simple("false")}


def _as_reply(value: JSON) -> Reply:
    """A value as types of the protocol: a container is an array that begins with its bracket."""
    if type(value) is dict:
        # One call for each level, not two: documents may be deep.
        members: list[Reply] = [_OBJECT]
        for name, member in value.items():
            members += (name.encode(), _as_reply(member))
        return members
    if type(value) is list:
        return [_ARRAY, *map(_as_reply, value)]
    if type(value) is bool:
        return _BOOLEANS[value]
    if type(value) is int:
        return integer_reply(value)
    reply: Reply = value.encode() if type(value) is str else value
    return reply


@command("json.resp", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the JSON values at a path as replies of the protocol")  # fmt: skip
@works_ahead()
def json_resp(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    document = read_document(session.keyspace, request[1])
    if document is None:
        return None
    if not path.is_legacy:
        return [_as_reply(value) for value in path.values(document.root)]
    value = path.first(document.root)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    return _as_reply(value)


json_debug = container("json.debug", since="1.0.0", group="json", categories="json",
                       summary="A container for commands about the memory of JSON values")  # fmt: skip


@command("json.debug|memory", "key:key path?", "readonly", access="RO", arity=-3,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Estimate the memory that the JSON values at a path take, in bytes")  # fmt: skip
@works_ahead(lambda request: request[2:3], searches=lambda request: [(request[2], request[3])] if len(request) > 3 else [])
def json_debug_memory(session: Session, request: Request) -> Reply:
    path = path_at(request, 3)
    document = read_document(session.keyspace, request[2])
    if document is None:
        return 0 if path.is_legacy else []
    if not path.is_legacy:
        return [size_of(value) for value in path.values(document.root)]
    value = path.first(document.root)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    return size_of(value)


@command("json.debug|help", "", "readonly",
         since="1.0.0", group="json", complexity="O(1)",
         summary="Get help for the subcommands of JSON.DEBUG")  # fmt: skip
def json_debug_help(session: Session, request: Request) -> Reply:
    return [b"MEMORY <key> [path] - reports memory usage", b"HELP                - this message"]
