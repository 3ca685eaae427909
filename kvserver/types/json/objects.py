"""JSON.OBJKEYS and JSON.OBJLEN: the members of objects in documents."""

from __future__ import annotations

from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import works_ahead
from kvserver.types.json.document import read_document
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.places import NO_KEY, NO_PATH, path_at, wrong_type

_NO_OBJECT = f"{NO_PATH} or not an object"


def _names(value: JSON) -> Reply:
    # A large document may have them as they were set, until it is loaded anew.
    return [name.encode() for name in sorted(value)]


@command("json.objkeys", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the names of the members of the objects at a path")  # fmt: skip
@works_ahead()
def json_objkeys(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    document = read_document(session.keyspace, request[1])
    if document is None:
        if path.is_legacy:
            return None
        raise CommandError(NO_KEY)
    if not path.is_legacy:
        return [_names(value) if type(value) is dict else None for value in path.values(document.root)]
    value = path.first(document.root)
    if value is NOTHING:
        return None
    if type(value) is not dict:
        raise CommandError(_NO_OBJECT)
    return _names(value)


@command("json.objlen", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the numbers of members of the objects at a path")  # fmt: skip
@works_ahead()
def json_objlen(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    document = read_document(session.keyspace, request[1])
    if document is None:
        if path.is_legacy:
            return None
        raise CommandError(_NO_OBJECT)
    if not path.is_legacy:
        return [len(value) if type(value) is dict else None for value in path.values(document.root)]
    value = path.first(document.root)
    if value is NOTHING:
        return None
    if type(value) is not dict:
        raise wrong_type("object", value)
    return len(value)
