"""JSON.SET, JSON.MSET, JSON.MERGE, JSON.GET, JSON.MGET, JSON.DEL, JSON.FORGET, JSON.CLEAR: values of any type.

A JSON string is a string of Redis's, so that a command here takes a string for a document. JSON.SET of a whole document drops
the expiry of the key, as SET does; whatever changes a part keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from kvserver.dispatch.command import command, wrong_arity
from kvserver.dispatch.effect import Effect
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, JSONText, canonical_string
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import sent_value, works_ahead, written
from kvserver.types.json.document import (
    Document,
    Location,
    change_document,
    document_of,
    own_document,
    read_document,
    value_of,
)
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.layout import Layout
from kvserver.types.json.path import Path, parse_path
from kvserver.types.json.places import (
    NO_PATH,
    ROOT,
    Copies,
    check_depth,
    delete_all,
    existing,
    outermost,
    path_at,
    places_at,
)

NOT_AT_ROOT: Final = "ERR new objects must be created at the root"
_KEY_PATH_VALUE: Final = 3


_ROOTS: Final = (b"$", b".")
# It stands for a document that is missing.
_NONE: Final = Document(None)


def _key_of_part(request: Request) -> list[bytes]:
    """The key of a call, if its first path is not the root."""
    return request[1:2] if request[2:3] and request[2] not in _ROOTS else []


def _key_of_parts(request: Request) -> list[bytes]:
    """The key of a call with something behind it that may be a path, but not the root."""
    return request[1:2] if any(word not in _ROOTS for word in request[2:]) else []


def _keys_of_parts(request: Request) -> list[bytes]:
    """The keys of JSON.MSET whose paths are not the root."""
    return [key for key, path in zip(request[1::3], request[2::3], strict=False) if path not in _ROOTS]


# Writing


def _places(
    session: Session, document: Document, path: Path, *, may_replace: bool, may_add: bool
) -> tuple[list[Location], Location | None]:
    """The locations at which a value is put: those that are there, or the one that is added; nothing, where neither may be.

    CommandError for a path to nothing that says no place for a new member.
    """
    if may_replace:
        there = places_at(session, document, path)
        if there or not may_add:
            return there, None
    if path.keys is None:
        raise CommandError("Err wrong static path")
    if type(path.keys[-1]) is int:
        if path.first(document.root) is NOTHING:
            raise CommandError("ERR array index out of range")
        return [], None
    container = path.container(document.root)
    if container is None or path.keys[-1] in document.at(container):
        return [], None
    return [], (*container, path.keys[-1])


def _put(
    session: Session, document: Document, path: Path, value: JSON, *, may_replace: bool = True, may_add: bool = True
) -> bool:
    """Put a value at a path that is not the root. Return True if there was a place for it. CommandError as for `_places`."""
    there, added = _places(session, document, path, may_replace=may_replace, may_add=may_add)
    # What is within a place that gets the value is gone then.
    places = outermost(there) if added is None else [added]
    for place in places:
        check_depth(place[:-1], [value])
    copies = Copies([value])
    for place in places:
        document.put(place, *copies.take())
    return bool(places)


def _set_whole(session: Session, key: bytes, value: JSON, request: Request) -> None:
    session.keyspace.put_as(key, value_of(Document(value)), request)


@command("json.set", "key:key path value condition<NX|XX>?!", "write denyoom", access="RW access update",
         since="1.0.0", group="json", complexity="O(M+N) where M is the size of the value and N is the size of the document",
         summary="Set the JSON value at a path in a key")  # fmt: skip
@works_ahead(_key_of_part, values=slice(3, 4))
def json_set(session: Session, request: Request) -> Reply:
    options = json_set.options(request)
    key, path, value = request[1], parse_path(request[2]), sent_value(session, request, request[3])
    effect = [b"JSON.SET", *request[1:4]]
    document = own_document(session.keyspace, key) if not path.is_root else None
    if document is None:
        is_there = path.is_root and session.keyspace.live(key) is not None
        if is_there and "NX" in options:
            return None
        if not is_there and "XX" in options:
            return None
        if not path.is_root:
            raise CommandError(NOT_AT_ROOT)
        _set_whole(session, key, value, effect)
        return OK
    if not _put(session, document, path, value, may_replace="NX" not in options, may_add="XX" not in options):
        return None
    change_document(session.keyspace, key, document, effect)
    return OK


class _Assignment(NamedTuple):
    key: bytes
    path: Path
    value: JSON
    record: Request


@command("json.mset", "triplet{key:key path value}+", "write denyoom", access="RW access update",
         since="2.6.0", group="json", complexity="O(K*(M+N)) where K is the number of keys",
         summary="Set JSON values at paths in one or more keys", bounded_below=0)  # fmt: skip
@works_ahead(
    _keys_of_parts, values=slice(3, None, 3), searches=lambda request: list(zip(request[1::3], request[2::3], strict=False))
)
def json_mset(session: Session, request: Request) -> Reply:
    if len(request) % _KEY_PATH_VALUE != 1:
        raise wrong_arity("json.mset")
    keyspace = session.keyspace
    assignments = []
    # What may be wrong comes first: then all of them are set, or none.
    for place in range(1, len(request), _KEY_PATH_VALUE):
        key, text, value = request[place : place + _KEY_PATH_VALUE]
        path = parse_path(text)
        assignments.append(_Assignment(key, path, sent_value(session, request, value), [b"JSON.MSET", key, text, value]))
        if not path.is_root:
            document = document_of(keyspace.live(key))
            if document is None:
                raise CommandError(NOT_AT_ROOT)
            there, added = _places(session, document, path, may_replace=True, may_add=True)
            for location in there if added is None else [added]:
                check_depth(location[:-1], [assignments[-1].value])
    is_complete = True
    for key, path, value, record in assignments:
        if path.is_root:
            _set_whole(session, key, value, record)
            continue
        document = existing(own_document(keyspace, key))
        try:
            is_put = _put(session, document, path, value)
        except CommandError:
            # An assignment before this one has changed what is there.
            is_put = False
        if is_put:
            change_document(keyspace, key, document, record)
        is_complete = is_complete and is_put
    return OK if is_complete else None


def _merged(value: JSON, patch: JSON) -> JSON:
    """A value after a merge patch (RFC 7396). Neither is changed, and the result may share what is in either."""
    if type(patch) is not dict:
        return patch
    merged = dict(value) if type(value) is dict else {}
    for name, member in patch.items():
        if member is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), member)
    return merged


@command("json.merge", "key:key path value", "write denyoom", access="RW access update",
         since="2.6.0", group="json", complexity="O(M+N) where M is the size of the value and N is the size of the document",
         summary="Merge a JSON value into the values at a path; members that are null there are removed")  # fmt: skip
@works_ahead(values=slice(3, 4))
def json_merge(session: Session, request: Request) -> Reply:
    key, path, patch = request[1], parse_path(request[2]), sent_value(session, request, request[3])
    document = own_document(session.keyspace, key)
    if document is None:
        if not path.is_root:
            raise CommandError(NOT_AT_ROOT)
        _set_whole(session, key, patch, request)
        return OK
    there, added = _places(session, document, path, may_replace=True, may_add=True) if not path.is_root else ([()], None)
    if added is not None:
        check_depth(added[:-1], [patch])
        document.put(added, patch)
    else:
        copies = Copies([patch])
        merged = {place: _merged(document.at(place), *copies.take()) for place in outermost(there)}
        for place, value in merged.items():
            if place:
                check_depth(place[:-1], [value])
        for place, value in merged.items():
            document.put(place, value)
    if added is None and not there:
        return None
    change_document(session.keyspace, key, document, request)
    return OK


# Reading


def _found(document: Document, path: Path) -> JSON:
    """What a path finds: the first value for a legacy path, or NOTHING, and the array of all values else."""
    return path.first(document.root) if path.is_legacy else path.values(document.root)


@command("json.get", "key:key word?+", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the JSON values at paths in a key")  # fmt: skip
@works_ahead(_key_of_parts, searches=lambda request: [(request[1], word) for word in request[2:]])
def json_get(session: Session, request: Request) -> Reply | Effect:
    # The arguments are read by hand: paths may stand between the options.
    rest = list(reversed(request[2:]))
    paths: dict[bytes, Path] = {}
    layout = Layout()
    while rest:
        word = rest.pop()
        name = word.lower().decode("latin-1")
        if name in Layout._fields:
            if not rest:
                raise wrong_arity("json.get")
            layout = layout._replace(**{name: rest.pop()})
        elif name != "noescape":
            paths[word] = parse_path(word)
    limit_bytes = session.server.config.proto_max_bulk_len

    def lay_out(text: bytes) -> bytes:
        return layout.apply(text, limit_bytes) if any(layout) else text

    return _get(session, request[1], list(paths.values()) or [parse_path(ROOT)], lay_out)


def _get(session: Session, key: bytes, paths: list[Path], lay_out: Callable[[bytes], bytes]) -> Reply | Effect:
    """The JSON of what paths find; for several paths, an object from each path to what it finds. None for a missing key."""
    keyspace = session.keyspace
    # The whole of a text is there already.
    if len(paths) == 1 and paths[0].is_root and type(keyspace.peek_live(key)) is JSONText:
        whole: bytes = keyspace.read(key)  # type: ignore[assignment]
        return lay_out(whole if paths[0].is_legacy else b"[%b]" % whole)
    document = read_document(keyspace, key)
    if document is None:
        return None
    # One path with a list makes all of them have one.
    has_lists = len(paths) > 1 and not all(path.is_legacy for path in paths)
    found = [path.values(document.root) if has_lists else _found(document, path) for path in paths]
    if any(each is NOTHING for each in found):
        raise CommandError(NO_PATH)

    def finish(texts: list[bytes]) -> Reply:
        if len(paths) == 1:
            return lay_out(texts[0])
        members = [b"%b:%b" % (canonical_string(path.text), text) for path, text in zip(paths, texts, strict=True)]
        return lay_out(b"{%b}" % b",".join(members))

    return written(session, [(document, each) for each in found], finish)


@command("json.mget", "key:key+ path", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the documents",
         summary="Get the JSON values at a path in one or more keys", bounded_below=0)  # fmt: skip
@works_ahead(lambda request: request[1:-1], searches=lambda request: [(key, request[-1]) for key in request[1:-1]])
def json_mget(session: Session, request: Request) -> Reply | Effect:
    path = parse_path(request[-1])
    found: list[tuple[Document, JSON]] = []
    for key in request[1:-1]:
        try:
            document = read_document(session.keyspace, key)
        except CommandError:
            # A value of another type is null, as it is for MGET.
            document = None
        found.append((_NONE, NOTHING) if document is None else (document, _found(document, path)))

    def finish(texts: list[bytes]) -> Reply:
        rest = iter(texts)
        return [None if value is NOTHING else next(rest) for _, value in found]

    return written(session, [each for each in found if each[1] is not NOTHING], finish)


# Removing


def _delete(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    keyspace = session.keyspace
    if path.is_root:
        if keyspace.live(request[1]) is None:
            return 0
        keyspace.remove(request[1])
        return 1
    document = own_document(keyspace, request[1])
    if document is None:
        return 0
    places = outermost(places_at(session, document, path))
    if places:
        delete_all(document, places)
        change_document(keyspace, request[1], document, [b"JSON.DEL", *request[1:]])
    return len(places)


@command("json.del", "key:key path?", "write", access="RW access update", arity=-2,
         events={"": "json.del", "DEL": "json.del"}, since="1.0.0", group="json",
         complexity="O(N) where N is the size of the document",
         summary="Delete the JSON values at a path, or the key")  # fmt: skip
@works_ahead(_key_of_part)
def json_del(session: Session, request: Request) -> Reply:
    return _delete(session, _with_path(request))


@command("json.forget", "key:key path?", "write", access="RW access update", arity=-2,
         events={"": "json.del", "DEL": "json.del"}, since="1.0.0", group="json",
         complexity="O(N) where N is the size of the document",
         summary="Delete the JSON values at a path, or the key")  # fmt: skip
@works_ahead(_key_of_part)
def json_forget(session: Session, request: Request) -> Reply:
    return _delete(session, _with_path(request))


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
@works_ahead()
def json_clear(session: Session, request: Request) -> Reply:
    document = existing(own_document(session.keyspace, _with_path(request)[1]))
    found = places_at(session, document, path_at(request, 2))
    places = outermost(place for place in found if not _is_clear(document.at(place)))
    for place in places:
        value = document.at(place)
        document.put(place, {} if type(value) is dict else [] if type(value) is list else 0)
    if places:
        change_document(session.keyspace, request[1], document, request)
    return len(places)
