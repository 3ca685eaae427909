"""JSON.SET, JSON.GET, JSON.TYPE, JSON.DEL, JSON.FORGET: whole documents, as RedisJSON and redis-py's `json()` have them.

Only the root path is known. A document is replaced as a whole and never changed; a JSON string is a string of Redis's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kvserver.data.entries import Value
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.dispatch.command import command, wrong_arity
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText, canonical, canonical_strict, parse_strict
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

LEGACY_ROOTS = (b".", b"")
ROOT = b"$"


def _is_legacy_root(path: bytes) -> bool:
    """True for `.`, False for `$`. CommandError for a path below the root."""
    if path == ROOT:
        return False
    if path in LEGACY_ROOTS:
        return True
    raise CommandError("ERR only the root path ($ or .) is supported")


def _text(value: Value) -> bytes:
    """The canonical JSON of a value. CommandError for bytes that are not UTF-8, which JSON can't express."""
    if isinstance(value, JSONText):
        return value
    if not isinstance(value, bytes):
        raise CommandError(WRONG_TYPE)
    try:
        return canonical(value.decode())
    except UnicodeDecodeError:
        raise CommandError(WRONG_TYPE) from None


@command("json.set", "key:key path value condition<NX|XX>?!", "write denyoom", access="RW access update",
         since="1.0.0", group="json", complexity="O(M) where M is the size of the value",
         summary="Set the JSON value of a key")  # fmt: skip
def json_set(session: Session, request: Request) -> Reply:
    keyspace = session.keyspace
    options = json_set.options(request)
    is_there = keyspace.live(request[1]) is not None
    if request[2] != ROOT and request[2] not in LEGACY_ROOTS and not is_there:
        raise CommandError("ERR new objects must be created at the root")
    _is_legacy_root(request[2])
    try:
        document = parse_strict(request[3])
        # The canonical text is made for a string as well, for its limits: a document that is taken must be readable later.
        text = canonical_strict(document)
    except ValueError as error:
        raise CommandError(f"ERR {error}") from None
    if ("NX" in options and is_there) or ("XX" in options and not is_there):
        return None
    value = document.encode() if type(document) is str else JSONText(text)
    keyspace.put_as(request[1], value, [b"JSON.SET", request[1], ROOT, request[3]])
    return OK


class Layout(NamedTuple):
    """The bytes between the parts of a document, none by default.

    `newline` begins each line, `indent` follows it once for each level, and `space` stands behind each colon.
    """

    indent: bytes = b""
    newline: bytes = b""
    space: bytes = b""

    def apply(self, text: bytes, limit_bytes: int) -> bytes:
        """Return canonical JSON, laid out. CommandError if that takes more bytes than the limit."""
        # A number stands for the start of a line at this level.
        pieces: list[bytes | int] = []
        level = 0
        for token in _TOKENS.findall(text):
            if token in (b"[", b"{"):
                level += 1
                pieces += (token, level)
            elif token in (b"]", b"}"):
                level -= 1
                pieces += (level, token)
            elif token == b",":
                pieces += (token, level)
            else:
                pieces.append(token)
        starts = [piece for piece in pieces if isinstance(piece, int)]
        # The length is checked before any of the text is made: a long indent would be repeated many times.
        added = len(starts) * len(self.newline) + sum(starts) * len(self.indent) + pieces.count(b":") * len(self.space)
        if len(text) + added > limit_bytes:
            raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        lines = {start: self.newline + self.indent * start for start in set(starts)}
        colon = b":" + self.space
        return b"".join([lines[piece] if isinstance(piece, int) else colon if piece == b":" else piece for piece in pieces])


# A string, an empty array or object, punctuation, a number or word.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[\]|\{\}|[][{},:]|[^][{},:"]+')


@command("json.get", "key:key word?+", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(M)",
         summary="Get the JSON value of a key")  # fmt: skip
def json_get(session: Session, request: Request) -> Reply:
    # The arguments are read by hand: paths may stand between the options.
    rest = list(reversed(request[2:]))
    paths: list[bytes] = []
    layout = Layout()
    while rest:
        word = rest.pop()
        name = word.lower().decode("latin-1")
        if name in Layout._fields:
            if not rest:
                raise wrong_arity("json.get")
            layout = layout._replace(**{name: rest.pop()})
        elif name != "noescape":
            paths.append(word)
    legacy = [_is_legacy_root(path) for path in paths]
    value = session.keyspace.read(request[1])
    if value is None:
        return None
    text = _text(value)
    wrapped = text if all(legacy) else b"[%b]" % text
    # For several paths, RedisJSON replies with an object from each path to its values.
    if len(paths) > 1:
        wrapped = b"{%b}" % b",".join(b'"%b":%b' % (path or b".", wrapped) for path in dict.fromkeys(paths))
    return layout.apply(wrapped, session.server.config.proto_max_bulk_len) if any(layout) else wrapped


_TYPES = {b"{": b"object", b"[": b"array", b'"': b"string", b"t": b"boolean", b"f": b"boolean", b"n": b"null"}


@command("json.type", "key:key path?", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(1)",
         summary="Get the type of the JSON value of a key")  # fmt: skip
def json_type(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_arity("json.type")
    legacy = _is_legacy_root(request[2]) if len(request) == 3 else True
    value = session.keyspace.read(request[1])
    reply: Reply = None
    if value is not None:
        text = _text(value)
        # NaN and Infinity, from a frame written elsewhere, are numbers; canonical JSON begins no other value with N or I.
        is_integer = text.removeprefix(b"-").isdigit()
        kind = _TYPES.get(text[:1], b"integer" if is_integer else b"number")
        reply = kind if legacy else [kind]
    return [reply] if session.protocol == 3 else reply


@command("json.del", "key:key path?", "write", access="RW access update",
         events={"DEL": "json.del"}, since="1.0.0", group="json", complexity="O(1)",
         summary="Delete a JSON value")  # fmt: skip
def json_del(session: Session, request: Request) -> Reply:
    return _delete("json.del", session, request)


def _delete(name: str, session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_arity(name)
    if len(request) == 3:
        _is_legacy_root(request[2])
    keyspace = session.keyspace
    if keyspace.live(request[1]) is None:
        return 0
    keyspace.remove(request[1])
    return 1


@command("json.forget", "key:key path?", "write", access="RW access update",
         events={"DEL": "json.del"}, since="1.0.0", group="json", complexity="O(1)",
         summary="Delete a JSON value")  # fmt: skip
def json_forget(session: Session, request: Request) -> Reply:
    return _delete("json.forget", session, request)
