"""JSON.STRAPPEND and JSON.STRLEN: strings in documents. Lengths are those in UTF-8, in bytes."""

from __future__ import annotations

from sys import maxsize

from kvserver.data.steps import Steps
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import reads_ahead, writes_ahead
from kvserver.types.json.copies import TOO_LONG
from kvserver.types.json.document import Document, Location
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.places import NO_PATH, change_each, existing, path_at, work_of, wrong_type
from kvserver.types.json.replies import each_reply
from kvserver.types.json.storage import Finish, read, sent
from kvserver.types.json.work import Work

_WITH_PATH = 4


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@command("json.strappend", "key:key path? value", "write denyoom", access="RW access update", arity=-3,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Append a string to the strings at a path")  # fmt: skip
@writes_ahead()
def json_strappend(session: Session, request: Request) -> Steps[Finish]:
    # The path is the one that may be missing.
    path = path_at(request if len(request) >= _WITH_PATH else request[:2], 2)
    suffix = yield from sent(request[3 if len(request) >= _WITH_PATH else 2])
    if type(suffix) is not str:
        raise wrong_type("string", suffix)
    limit = maxsize if session.is_replay else session.server.config.proto_max_bulk_len
    more = _length(suffix)

    def plan(document: Document, location: Location, work: Work) -> Steps[str]:
        yield from ()
        value: str = document.at(location)
        if _length(value) + more > limit:
            raise CommandError(TOO_LONG)
        return value + suffix

    def put(document: Document, location: Location, value: str) -> Reply:
        document.put(location, value)
        return _length(value)

    return (yield from change_each(session, request, _is_string, plan, put, "not a string", path=path))


def _is_string(value: JSON) -> bool:
    return type(value) is str


@command("json.strlen", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the lengths of the strings at a path")  # fmt: skip
@reads_ahead()
def json_strlen(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 2), work_of(session)
    document = yield from read(session, request[1])
    if not path.is_legacy:
        values = yield from path.values(existing(document).root, work)
        return (yield from each_reply(session, values, lambda value: _length(value) if type(value) is str else None, work))
    if document is None:
        return None
    value = yield from path.first(document.root, work)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    if type(value) is not str:
        raise wrong_type("string", value)
    return _length(value)
