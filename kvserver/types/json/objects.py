"""JSON.OBJKEYS and JSON.OBJLEN: the members of objects in documents."""

from __future__ import annotations

from kvserver.data.steps import Steps
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import reads_ahead
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.places import AT_ONCE, NO_KEY, NO_PATH, path_at, work_of, wrong_type
from kvserver.types.json.replies import each_reply, long_reply
from kvserver.types.json.storage import read
from kvserver.types.json.work import pieces
from kvserver.types.json.writing import names_in_order

_NO_OBJECT = f"{NO_PATH} or not an object"


def _names(value: dict[str, JSON]) -> Steps[list[Reply]]:
    """Return the names of an object in their order: a large document may have them as they were set, until a new load."""
    if len(value) <= AT_ONCE:
        return [name.encode() for name in sorted(value)]
    names: list[Reply] = []
    for some in names_in_order(value):
        names += [name.encode() for name in some]
        yield
    return names


@command("json.objkeys", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the names of the members of the objects at a path")  # fmt: skip
@reads_ahead()
def json_objkeys(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 2), work_of(session)
    document = yield from read(session, request[1])
    if document is None:
        if path.is_legacy:
            return None
        raise CommandError(NO_KEY)
    if not path.is_legacy:
        values = yield from path.values(document.root, work)
        replies: list[Reply] = []
        for some in pieces(values):
            for each in some:
                replies.append((yield from _names(each)) if type(each) is dict else None)
                work.spend(1 + (len(each) if type(each) is dict else 0))
                if work.is_due():
                    yield
        return (yield from long_reply(session, replies, work))
    value = yield from path.first(document.root, work)
    if value is NOTHING:
        return None
    if type(value) is not dict:
        raise CommandError(_NO_OBJECT)
    return (yield from long_reply(session, (yield from _names(value)), work))


@command("json.objlen", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the numbers of members of the objects at a path")  # fmt: skip
@reads_ahead()
def json_objlen(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 2), work_of(session)
    document = yield from read(session, request[1])
    if document is None:
        if path.is_legacy:
            return None
        raise CommandError(_NO_OBJECT)
    if not path.is_legacy:
        values = yield from path.values(document.root, work)
        return (yield from each_reply(session, values, lambda value: len(value) if type(value) is dict else None, work))
    value = yield from path.first(document.root, work)
    if value is NOTHING:
        return None
    if type(value) is not dict:
        raise wrong_type("object", value)
    return len(value)
