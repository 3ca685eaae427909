"""JSON.TOGGLE: booleans in documents."""

from __future__ import annotations

from kvserver.dispatch.command import command
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import works_ahead
from kvserver.types.json.document import Document, Location
from kvserver.types.json.path import parse_path
from kvserver.types.json.places import change_each


def _is_boolean(value: JSON) -> bool:
    return type(value) is bool


@command("json.toggle", "key:key path", "write denyoom", access="RW access update",
         since="2.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Turn the booleans at a path into their opposite")  # fmt: skip
@works_ahead()
def json_toggle(session: Session, request: Request) -> Reply:
    path = parse_path(request[2])

    def toggle(document: Document, location: Location) -> Reply:
        value = not document.at(location)
        document.put(location, value)
        return (b"true" if value else b"false") if path.is_legacy else int(value)

    return change_each(session, request, _is_boolean, toggle, "not a bool", path=path)
