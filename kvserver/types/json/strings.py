"""JSON.STRAPPEND and JSON.STRLEN: strings in documents. Lengths are those in UTF-8, in bytes."""

from __future__ import annotations

from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import works_ahead
from kvserver.types.json.document import Document, Location, read_document
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.places import NO_PATH, TOO_LONG, change_each, existing, path_at, value_from, wrong_type

_WITH_PATH = 4


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@command("json.strappend", "key:key path? value", "write denyoom", access="RW access update", arity=-3,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Append a string to the strings at a path")  # fmt: skip
@works_ahead()
def json_strappend(session: Session, request: Request) -> Reply:
    # The path is the one that may be missing.
    path = path_at(request if len(request) >= _WITH_PATH else request[:2], 2)
    suffix = value_from(request[3 if len(request) >= _WITH_PATH else 2])
    if type(suffix) is not str:
        raise wrong_type("string", suffix)
    limit = session.server.config.proto_max_bulk_len

    def check(document: Document, location: Location) -> None:
        if _length(document.at(location)) + _length(suffix) > limit and not session.is_replay:
            raise CommandError(TOO_LONG)

    def append(document: Document, location: Location) -> Reply:
        value = document.at(location) + suffix
        document.put(location, value)
        return _length(value)

    return change_each(session, request, _is_string, append, "not a string", path=path, check=check)


def _is_string(value: JSON) -> bool:
    return type(value) is str


@command("json.strlen", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the lengths of the strings at a path")  # fmt: skip
@works_ahead()
def json_strlen(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    document = read_document(session.keyspace, request[1])
    if not path.is_legacy:
        return [_length(value) if type(value) is str else None for value in path.values(existing(document).root)]
    if document is None:
        return None
    value = path.first(document.root)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    if type(value) is not str:
        raise wrong_type("string", value)
    return _length(value)
