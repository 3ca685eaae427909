"""The work on long texts that is done before a command runs, or replies, in steps between the commands of others. Pure.

A command that is given a long JSON text, that looks into one that is stored, or that replies with one, asks for an `Ahead`
first, and finds what that has worked out when it runs again. In a transaction or a script, where nothing can wait, it is done
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from io import BytesIO
from typing import Final

from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.effect import Ahead, Effect
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, JSONText
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import LONG_BYTES, parse_steps
from kvserver.types.json.places import value_from
from kvserver.types.json.writing import weight, write, write_steps

Handler = Callable[[Session, Request], Reply | Effect]

# A value of a greater weight is written ahead.
_LONG_WEIGHT: Final = 4096
_NOTHING: Final = slice(0)


class _Values:
    """The values of texts that were parsed ahead, or the errors, by the identities of the texts."""

    def __init__(self) -> None:
        self.found: dict[int, JSON | CommandError] = {}


class _Texts(list[bytes]):
    """The JSON of values that was written ahead."""


def key(request: Request) -> list[bytes]:
    """Return the key of most commands, which look into its document."""
    return request[1:2]


def parses_ahead(keys: Callable[[Request], list[bytes]] = key, *, values: slice = _NOTHING) -> Callable[[Handler], Handler]:
    """Return a decorator: long texts among the `values` of a call, and those under its `keys`, are parsed before it runs."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def run(session: Session, request: Request) -> Reply | Effect:
            if session.ready is not None and session.ready[0] is request:
                try:
                    return handler(session, request)
                finally:
                    session.ready = None
            if session.may_wait:
                texts = [text for text in request[values] if len(text) > LONG_BYTES]
                stored = [each for each in keys(request) if is_long_text(session.keyspace, each)]
                if texts or stored:
                    return Ahead(_parse(session.keyspace, texts, stored))
            return handler(session, request)

        return run

    return decorate


def is_long_text(keyspace: Keyspace, key: bytes) -> bool:
    """Return True if a document that is held as a long text is under a key."""
    value = keyspace.peek_live(key)
    return type(value) is JSONText and len(value) > LONG_BYTES


def sent_value(session: Session, request: Request, text: bytes) -> JSON:
    """Return the value of JSON that a client has sent in this request. CommandError if it is none, or can't be kept."""
    ready = session.ready
    if ready is None or ready[0] is not request or type(ready[1]) is not _Values or id(text) not in ready[1].found:
        return value_from(text)
    value = ready[1].found[id(text)]
    if isinstance(value, CommandError):
        raise value
    return value


def written(session: Session, request: Request, found: list[tuple[Document, JSON]]) -> list[bytes] | Ahead:
    """Return the JSON of values, each with the document that it is in, or the effect by which it is written ahead.

    What was written ahead is of the values as they were when the command came.
    """
    ready = session.take_ready(request)
    if type(ready) is _Texts:
        return ready
    if not session.may_wait or weight([value for _, value in found], _LONG_WEIGHT) < _LONG_WEIGHT:
        return [write(value, has_constants=document.has_constants) for document, value in found]
    for document, _ in found:
        # From now on it copies what it changes.
        document.fork()
    return Ahead(_write(found))


def _parse(keyspace: Keyspace, texts: list[bytes], keys: list[bytes]) -> Generator[None, None, _Values]:
    values = _Values()
    for text in texts:
        try:
            value, _ = yield from parse_steps(text, is_canonical=False)
        except ValueError as error:
            value = CommandError(f"ERR {error}")
        values.found[id(text)] = value
    for each in keys:
        stored = keyspace.peek_live(each)
        if type(stored) is not JSONText:
            continue
        root, has_constants = yield from parse_steps(stored, is_canonical=True)
        # Meanwhile another one may have come under the key.
        if keyspace.peek_live(each) is stored:
            document = Document(root, has_constants=has_constants)
            document.is_kept = True
            keyspace.put_equal(each, document)
    return values


def _write(found: list[tuple[Document, JSON]]) -> Generator[None, None, _Texts]:
    texts = _Texts()
    for document, value in found:
        # Its buffer becomes the text, so that nothing is copied twice.
        gathered = BytesIO()
        for piece in write_steps(value, has_constants=document.has_constants):
            gathered.write(piece)
            yield
        texts.append(gathered.getvalue())
    return texts
