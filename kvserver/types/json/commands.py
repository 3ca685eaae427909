"""JSON.SET, JSON.MSET, JSON.MERGE, JSON.GET, JSON.MGET, JSON.DEL, JSON.FORGET, JSON.CLEAR: values of any type.

A JSON string is a string of Redis's, so that a command here takes a string for a document. All keep the expiry of the key.
"""

from __future__ import annotations

from typing import Final

from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.command import command, wrong_arity
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, JSONText, canonical_string
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import reads_ahead, writes_ahead
from kvserver.types.json.copies import Copies, check_depth, depth_of
from kvserver.types.json.document import Document, Location, let_go
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.layout import Layout
from kvserver.types.json.merging import merge_patch
from kvserver.types.json.path import Path, parse_path
from kvserver.types.json.places import AT_ONCE, NO_PATH, ROOT, delete_all, existing, outermost, path_at, work_of
from kvserver.types.json.replies import long_reply
from kvserver.types.json.storage import (
    Finish,
    draft_of,
    edited,
    is_there,
    keep,
    of_value,
    opened,
    put_whole,
    sent,
    text_or_document,
)
from kvserver.types.json.work import Work, pieces
from kvserver.types.json.writing import text_steps, weight

NOT_AT_ROOT: Final = "ERR new objects must be created at the root"
_KEY_PATH_VALUE: Final = 3
# To get the document under a key takes the time in which so many values are looked at.
_KEY_VALUES: Final = 32


# Writing


def _places(
    document: Document, path: Path, work: Work, *, may_replace: bool = True, may_add: bool = True
) -> Steps[tuple[list[Location], Location | None]]:
    """Return the locations at which a value is put: those that are there, or the one that is added.

    Nothing, where neither may be. CommandError for a path to nothing that says no place for a new member.
    """
    if may_replace:
        there = yield from path.find(document.root, work)
        if there or not may_add:
            # What is within a place that gets the value is gone then.
            return (yield from outermost(there, work)), None
    if path.keys is None:
        raise CommandError("Err wrong static path")
    if type(path.keys[-1]) is int:
        if (yield from path.first(document.root, work)) is NOTHING:
            raise CommandError("ERR array index out of range")
        return [], None
    container = path.container(document.root)
    if container is None or path.keys[-1] in document.at(container):
        return [], None
    return [], (*container, path.keys[-1])


def _copies(
    session: Session, places: list[Location], value: JSON, text: bytes, work: Work
) -> Steps[list[tuple[Location, JSON]]]:
    """Return the places, each with a value of its own. CommandError if it would be too deep there, or all too long."""
    depth = (yield from depth_of([value], work)) if type(value) in (dict, list) else 0
    if len(places) == 1:
        check_depth(places[0][:-1], depth if places[0] else -1)
        return [(places[0], value)]
    copies = Copies(session, [value], [text])
    found = []
    for some in pieces(places):
        for place in some:
            check_depth(place[:-1], depth if place else -1)
            (copy,) = yield from copies.take()
            found.append((place, copy))
        work.spend(len(some))
        if work.is_due():
            yield
    return found


def _put_all(document: Document, wanted: list[tuple[Location, JSON]], work: Work) -> Steps[None]:
    for some in pieces(wanted):
        for place, value in some:
            document.put(place, value)
        work.spend(len(some))
        if work.is_due():
            yield
    let_go(wanted)


@command("json.set", "key:key path value condition<NX|XX>?!", "write denyoom", access="RW access update",
         since="1.0.0", group="json", complexity="O(M+N) where M is the size of the value and N is the size of the document",
         summary="Set the JSON value at a path in a key")  # fmt: skip
@writes_ahead()
def json_set(session: Session, request: Request) -> Steps[Finish]:
    options = json_set.options(request)
    key, path, work = request[1], parse_path(request[2]), work_of(session)
    value = yield from sent(request[3])
    effect = [b"JSON.SET", *request[1:4]]
    document = (yield from opened(session, key)) if not path.is_root else None
    if document is None:

        def set_whole() -> Reply:
            was_there = path.is_root and is_there(session, key)
            if ("NX" in options and was_there) or ("XX" in options and not was_there):
                return None
            if not path.is_root:
                raise CommandError(NOT_AT_ROOT)
            put_whole(session, key, Document(value), effect)
            return OK

        return set_whole
    there, added = yield from _places(document, path, work, may_replace="NX" not in options, may_add="XX" not in options)
    places = there if added is None else [added]
    if not places:
        return lambda: None
    wanted = yield from _copies(session, places, value, request[3], work)

    def put(target: Document, work: Work) -> Steps[Reply]:
        yield from _put_all(target, wanted, work)
        return OK

    return (yield from edited(session, key, document, put, effect, work, is_quick=len(wanted) <= AT_ONCE))


@command("json.mset", "triplet{key:key path value}+", "write denyoom", access="RW access update",
         since="2.6.0", group="json", complexity="O(K*(M+N)) where K is the number of keys",
         summary="Set JSON values at paths in one or more keys", bounded_below=0)  # fmt: skip
@writes_ahead(lambda request: request[1::_KEY_PATH_VALUE])
def json_mset(session: Session, request: Request) -> Steps[Finish]:
    if len(request) % _KEY_PATH_VALUE != 1:
        raise wrong_arity("json.mset")
    work = work_of(session)
    # What becomes of each key, in order. Nothing is kept before all is done: then all of it is set, or nothing.
    drafts: dict[bytes, Document | None] = {}
    assignments: list[tuple[bytes, Path, Request]] = []
    has_place_for_all = True
    for start in range(1, len(request), _KEY_PATH_VALUE):
        key, text, sent_text = request[start : start + _KEY_PATH_VALUE]
        path = parse_path(text)
        value = yield from sent(sent_text)
        work.spend(_KEY_VALUES)
        if work.is_due():
            yield
        assignments.append((key, path, [b"JSON.MSET", key, text, sent_text]))
        if path.is_root:
            is_there(session, key)
            drafts[key] = Document(value)
            continue
        if key not in drafts:
            document = yield from opened(session, key)
            drafts[key] = draft_of(document) if document else None
        draft = drafts[key]
        if draft is None:
            raise CommandError(NOT_AT_ROOT)
        there, added = yield from _places(draft, path, work)
        places = there if added is None else [added]
        # What is wrong behind it is told all the same.
        has_place_for_all = has_place_for_all and bool(places)
        yield from _put_all(draft, (yield from _copies(session, places, value, sent_text, work)), work)

    if not has_place_for_all:
        return lambda: None

    def finish() -> Reply:
        for key, path, record in assignments:
            draft = drafts[key]
            assert draft
            if path.is_root:
                put_whole(session, key, draft, record)
            else:
                keep(session, key, draft, record)
        return OK

    return finish


@command("json.merge", "key:key path value", "write denyoom", access="RW access update", arity=-4,
         since="2.6.0", group="json", complexity="O(M+N) where M is the size of the value and N is the size of the document",
         summary="Merge a JSON value into the values at a path; members that are null there are removed")  # fmt: skip
@writes_ahead()
def json_merge(session: Session, request: Request) -> Steps[Finish]:
    # Redis counts no words behind the value either: it takes them for options, and knows none that are in its documents.
    if len(request) > _KEY_PATH_VALUE + 1:
        raise CommandError(SYNTAX_ERROR)
    key, path, work = request[1], parse_path(request[2]), work_of(session)
    patch = yield from sent(request[3])
    document = yield from opened(session, key)
    if document is None:
        if not path.is_root:
            raise CommandError(NOT_AT_ROOT)

        def set_whole() -> Reply:
            put_whole(session, key, Document(patch), request)
            return OK

        return set_whole
    there: list[Location] = [()]
    added: Location | None = None
    if not path.is_root:
        there, added = yield from _places(document, path, work)
    places = there if added is None else [added]
    if not places:
        return lambda: None
    wanted = yield from _copies(session, places, patch, request[3], work)
    if added is not None:

        def merge(target: Document, work: Work) -> Steps[Reply]:
            yield from _put_all(target, wanted, work)
            return OK

    else:

        def merge(target: Document, work: Work) -> Steps[Reply]:
            for place, value in wanted:
                yield from merge_patch(target, place, value, work)
            let_go(wanted)
            return OK

    is_quick = len(wanted) <= AT_ONCE // max(weight(patch, AT_ONCE), 1)
    return (yield from edited(session, key, document, merge, request, work, is_quick=is_quick))


# Reading


def _found(document: Document, path: Path, work: Work, *, as_list: bool) -> Steps[JSON]:
    """Return the array of all values that a path finds, or the first one, or NOTHING."""
    if as_list:
        return (yield from path.values(document.root, work))
    return (yield from path.first(document.root, work))


@command("json.get", "key:key word?+", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the JSON values at paths in a key")  # fmt: skip
@reads_ahead()
def json_get(session: Session, request: Request) -> Steps[Reply]:
    # The arguments are read by hand: paths may stand between the options.
    rest = list(reversed(request[2:]))
    paths: list[Path] = []
    layout = Layout()
    while rest:
        word = rest.pop()
        name = word.lower().decode("latin-1")
        if name in Layout._fields:
            if not rest:
                raise wrong_arity("json.get")
            layout = layout._replace(**{name: rest.pop()})
        elif name != "noescape":
            paths.append(parse_path(word))
    text = yield from _text_at(session, request[1], paths or [parse_path(ROOT)])
    if text is None or not any(layout):
        return text
    return (yield from layout.apply(text, session.server.config.proto_max_bulk_len))


def _text_at(session: Session, key: bytes, paths: list[Path]) -> Steps[bytes | None]:
    """Return the JSON of what paths find; None for a missing key.

    For several, it is an object from each path to what that finds; a path that is given twice is in it once.
    """
    value = session.keyspace.read(key)
    # The whole of a text is there already.
    if len(paths) == 1 and paths[0].is_root and type(value) is JSONText:
        return value if paths[0].is_legacy else b"[%b]" % value
    document = yield from of_value(session, key, value)
    if document is None:
        return None
    work = work_of(session)
    # One path with a list makes all of them have one.
    as_list = not all(path.is_legacy for path in paths)
    found: list[JSON] = []
    different = list({path.text: path for path in paths}.values())
    for path in different:
        found.append((yield from _found(document, path, work, as_list=as_list)))
    if any(each is NOTHING for each in found):
        raise CommandError(NO_PATH)
    texts: list[bytes] = []
    for each in found:
        texts.append((yield from text_steps(each, has_constants=document.has_constants)))
    if len(paths) == 1:
        return texts[0]
    members = [b"%b:%b" % (canonical_string(path.text), text) for path, text in zip(different, texts, strict=True)]
    return b"{%b}" % b",".join(members)


@command("json.mget", "key:key+ path", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the documents",
         summary="Get the JSON values at a path in one or more keys", bounded_below=0)  # fmt: skip
@reads_ahead(lambda request: request[1:-1])
def json_mget(session: Session, request: Request) -> Steps[Reply]:
    path, work = parse_path(request[-1]), work_of(session)
    replies: list[Reply] = []
    # All of them before the first step ends.
    values = [(key, session.keyspace.read(key)) for key in request[1:-1]]
    for key, value in values:
        try:
            document = yield from of_value(session, key, value)
        except CommandError:
            # A value of another type is null, as it is for MGET.
            document = None
        found = NOTHING
        if document is not None:
            found = yield from _found(document, path, work, as_list=not path.is_legacy)
        if document is None or found is NOTHING:
            replies.append(None)
        else:
            replies.append((yield from text_steps(found, has_constants=document.has_constants)))
        work.spend(_KEY_VALUES)
        if work.is_due():
            yield
    return (yield from long_reply(session, replies, work))


# Removing


@command("json.del", "key:key path?", "write", access="RW access update", arity=-2,
         events={"": "json.del", "DEL": "json.del"}, since="1.0.0", group="json",
         complexity="O(N) where N is the size of the document",
         summary="Delete the JSON values at a path, or the key")  # fmt: skip
@writes_ahead()
def json_del(session: Session, request: Request) -> Steps[Finish]:
    return _delete(session, _with_path(request))


@command("json.forget", "key:key path?", "write", access="RW access update", arity=-2,
         events={"": "json.del", "DEL": "json.del"}, since="1.0.0", group="json",
         complexity="O(N) where N is the size of the document",
         summary="Delete the JSON values at a path, or the key")  # fmt: skip
@writes_ahead()
def json_forget(session: Session, request: Request) -> Steps[Finish]:
    return _delete(session, _with_path(request))


def _delete(session: Session, request: Request) -> Steps[Finish]:
    key, path, work = request[1], path_at(request, 2), work_of(session)
    if path.is_root:
        value = session.keyspace.live(key)
        if value is None:
            return lambda: 0
        text_or_document(value)

        def remove() -> Reply:
            session.keyspace.remove(key)
            return 1

        return remove
    document = yield from opened(session, key)
    places = (yield from outermost((yield from path.find(document.root, work)), work)) if document else []
    if document is None or not places:
        return lambda: 0

    def delete(target: Document, work: Work) -> Steps[Reply]:
        yield from delete_all(target, places, work)
        let_go(places)
        return len(places)

    record = [b"JSON.DEL", *request[1:]]
    # Of several members of an array, all that are left are moved.
    return (yield from edited(session, key, document, delete, record, work, is_quick=len(places) == 1))


def _with_path(request: Request) -> Request:
    if len(request) > _KEY_PATH_VALUE:
        raise wrong_arity(request[0].decode("latin-1").lower())
    return request


def _is_clear(value: JSON) -> bool:
    """True if a value is empty or 0, or of a type that is never cleared."""
    return type(value) in (str, bool, type(None)) or not value


@command("json.clear", "key:key path?", "write", access="RW access update", arity=-2,
         since="2.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Empty the arrays and objects at a path, and set the numbers there to 0")  # fmt: skip
@writes_ahead()
def json_clear(session: Session, request: Request) -> Steps[Finish]:
    key, path, work = _with_path(request)[1], path_at(request, 2), work_of(session)
    document = existing((yield from opened(session, key)))
    found: list[Location] = []
    for some in pieces((yield from path.find(document.root, work))):
        found += [place for place in some if not _is_clear(document.at(place))]
        work.spend(len(some))
        if work.is_due():
            yield
    places = yield from outermost(found, work)
    if not places:
        return lambda: 0

    def clear(target: Document, work: Work) -> Steps[Reply]:
        for some in pieces(places):
            for place in some:
                value = target.at(place)
                target.put(place, {} if type(value) is dict else [] if type(value) is list else 0)
            work.spend(len(some))
            if work.is_due():
                yield
        let_go(places)
        return len(places)

    return (yield from edited(session, key, document, clear, request, work, is_quick=len(places) <= AT_ONCE))
