"""JSON.TOGGLE: booleans in documents."""

from __future__ import annotations

from kvserver.data.steps import Steps
from kvserver.dispatch.command import command
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import writes_ahead
from kvserver.types.json.document import Document, Location
from kvserver.types.json.path import parse_path
from kvserver.types.json.places import change_each
from kvserver.types.json.storage import Finish
from kvserver.types.json.work import Work


def _is_boolean(value: JSON) -> bool:
    return type(value) is bool


@command("json.toggle", "key:key path", "write denyoom", access="RW access update",
         since="2.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Turn the booleans at a path into their opposite")  # fmt: skip
@writes_ahead()
def json_toggle(session: Session, request: Request) -> Steps[Finish]:
    path = parse_path(request[2])

    def plan(document: Document, location: Location, work: Work) -> Steps[bool]:
        yield from ()
        return not document.at(location)

    def toggle(document: Document, location: Location, value: bool) -> Reply:
        document.put(location, value)
        return (b"true" if value else b"false") if path.is_legacy else int(value)

    return change_each(session, request, _is_boolean, plan, toggle, "not a bool", path=path)
