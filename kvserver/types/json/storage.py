"""Documents under keys: how commands get them, change them and keep them. Pure.

A string is a document, too, whose root is that string. Long texts are parsed in steps. While a command takes its steps, what
it reads stays as it is, and what it changes nobody else writes (`ahead`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.data.entries import Value
from kvserver.data.steps import Steps, at_once
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, JSONText
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import LONG_BYTES, parse, parse_outside, parse_steps
from kvserver.types.json.work import Work
from kvserver.types.json.writing import weight

# What is left of a command when its steps are done: it takes a short time, and gives the reply.
Finish = Callable[[], Reply]

# A longer text becomes a Document when a command asks for a path of it.
TEXT_BYTES: Final = 2048


# Reading


def document_of(value: Value | None) -> Steps[Document | None]:
    """Return the document that is a value, or a new one of the text that it is; None for None.

    CommandError for values of other types, and for a string that is not UTF-8, which JSON can't express.
    """
    if value is None:
        return None
    held = text_or_document(value)
    if isinstance(held, Document):
        return held
    if type(held) is JSONText:
        if len(held) > LONG_BYTES:
            root, has_constants = yield from parse_steps(held, is_canonical=True)
        else:
            root, has_constants = parse(held)
        return Document(root, has_constants=has_constants)
    try:
        return Document(held.decode())
    except UnicodeDecodeError:
        raise CommandError(WRONG_TYPE) from None


def text_or_document(value: Value) -> bytes | Document:
    """Return a value that is a document or a string. CommandError for a value of another type."""
    if not isinstance(value, bytes | Document):
        raise CommandError(WRONG_TYPE)
    return value


def read(session: Session, key: bytes) -> Steps[Document | None]:
    """Return the document under a key, to be read: a hit or a miss in INFO. None if the key is missing. CommandError."""
    return (yield from of_value(session, key, session.keyspace.read(key)))


def of_value(session: Session, key: bytes, value: Value | None) -> Steps[Document | None]:
    """Return the document that is a value which `Keyspace.read` has given for a key. CommandError as for `document_of`."""
    document = yield from document_of(value)
    if document is None or type(value) is not JSONText or len(value) <= TEXT_BYTES:
        return document
    # Meanwhile another value may have come under the key.
    if session.keyspace.peek_live(key) is value:
        # Others may change it while this command goes on.
        kept = document.fork()
        kept.is_kept = True
        session.keyspace.put_equal(key, kept)
    return document


def opened(session: Session, key: bytes) -> Steps[Document | None]:
    """Return the document under a key, to be looked at and given to `edited`. None if the key is missing. CommandError."""
    return (yield from document_of(session.keyspace.live(key)))


def sent(text: bytes) -> Steps[JSON]:
    """Return the value of JSON that a client has sent. CommandError if it is none, or could not be read again later."""
    try:
        if len(text) <= LONG_BYTES:
            return parse_outside(text)
        value, _ = yield from parse_steps(text, is_canonical=False)
        return value
    except ValueError as error:
        raise CommandError(f"ERR {error}") from None


# Writing


def edited(
    session: Session,
    key: bytes,
    document: Document,
    edit: Callable[[Document, Work], Steps[Reply]],
    record: Request,
    work: Work,
    *,
    is_quick: bool,
) -> Steps[Finish]:
    """Edit a document that `opened` has given, and return what keeps that, records it, and gives the reply of the edit.

    An edit that `is_quick` is made in place, in the finish, where no work is too much: it may not raise CommandError. Any
    other one goes in steps on a draft, which nobody sees before it has become the document.
    """
    if document.is_kept and is_quick:

        def finish_in_place() -> Reply:
            own = session.keyspace.own(key)
            assert type(own) is Document
            reply = at_once(edit(own, Work.unlimited()))
            session.keyspace.change(key, value_of(own), record)
            return reply

        return finish_in_place
    draft = draft_of(document)
    reply = yield from edit(draft, work)

    def finish() -> Reply:
        keep(session, key, draft, record)
        return reply

    return finish


def draft_of(document: Document) -> Document:
    """Return what may be changed at once and given to `keep` later: a document that was made for this command, or a draft."""
    return document.draft() if document.is_kept else document


def keep(session: Session, key: bytes, draft: Document, record: Request) -> None:
    """Let the document under a key, which keeps its expiry, be what a draft of it is, and record the request for that."""
    own = session.keyspace.own(key)
    if type(own) is Document:
        own.become(draft)
        draft = own
    session.keyspace.change(key, value_of(draft), record)


def is_there(session: Session, key: bytes) -> bool:
    """Return True if a document or a string is under a key, False if nothing is. CommandError for a value of another type.

    A journal may have been written when JSON.SET replaced any value.
    """
    value = session.keyspace.live(key)
    if value is not None and not session.is_replay:
        text_or_document(value)
    return value is not None


def put_whole(session: Session, key: bytes, document: Document, record: Request) -> None:
    """Store a whole document under a key that is alive or missing, and keeps its expiry. The record by itself drops that."""
    keyspace = session.keyspace
    expires_at_ms = None if session.is_journal else keyspace.expires_at_ms(key)
    keyspace.put_as(key, value_of(document), record)
    if expires_at_ms is not None:
        keyspace.expire(key, expires_at_ms)


def value_of(document: Document) -> Value:
    """Return the value to store for a document: a string for a string, the text of a small one, or the document itself."""
    if type(document.root) is str:
        return document.root.encode()
    # What has so many values in it has a longer text.
    if not document.is_kept and weight(document.root, TEXT_BYTES // 2) < TEXT_BYTES // 2:
        text = document.text()
        if len(text) <= TEXT_BYTES:
            return JSONText(text)
    document.is_kept = True
    return document
