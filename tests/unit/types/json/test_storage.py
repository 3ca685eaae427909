"""Documents are texts or are kept, edits go in place or by a draft, and a flush has what was there when it began."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from helpers.sessions import Server, run
from kvserver.data.entries import Value
from kvserver.data.keyspace import Keyspace
from kvserver.data.steps import Steps, at_once
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText, canonical
from kvserver.resp.reply import Reply
from kvserver.state.session import Session
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import LONG_BYTES
from kvserver.types.json.storage import TEXT_BYTES, document_of, edited, opened, read, value_of
from kvserver.types.json.work import Work

LONG = {"names": ["x" * 20] * TEXT_BYTES}
RECORD = [b"JSON.ARRAPPEND", b"key", b"$.names", b"1"]


def of(value: Value | None) -> Document | None:
    return at_once(document_of(value))


@pytest.fixture
def plain() -> Session:
    """A session of a keyspace as a server has it: one that guards its values makes a fork each time one is asked for."""
    session = Server().session()
    session.keyspace = Keyspace(lambda: 0)
    return session


def test_small_documents_are_texts_and_large_ones_are_kept() -> None:
    assert value_of(Document({"b": 1, "a": 1.5})) == JSONText(b'{"a":1.5,"b":1}')
    assert value_of(Document("text")) == b"text"
    large = Document(LONG)
    assert value_of(large) is large
    assert of(large) is large
    assert of(None) is None


def test_strings_are_documents_unless_they_are_not_text() -> None:
    found = of("é".encode())
    assert found is not None
    assert found.root == "é"
    for other in (b"\xff", "packed"):
        with pytest.raises(CommandError, match="WRONGTYPE"):
            of(other)


@pytest.mark.parametrize("length", [TEXT_BYTES + 1, LONG_BYTES + 1])
def test_text_that_is_long_stays_parsed_when_it_was_read(plain: Session, length: int) -> None:
    keyspace = plain.keyspace
    keyspace.set(b"small", JSONText(b"[1]"))
    keyspace.set(b"large", JSONText(b'["%b"]' % (b"x" * length)))
    for key in (b"small", b"large"):
        assert at_once(read(plain, key)) is not None
    assert type(keyspace.live(b"small")) is JSONText
    assert type(keyspace.live(b"large")) is Document
    assert not keyspace.records.has_any


def edit(session: Session, *, is_quick: bool) -> Reply:
    document = at_once(opened(session, b"key"))
    assert document

    def append(target: Document, work: Work) -> Steps[Reply]:
        yield from ()
        target.list_at(("names",)).append(1)
        return len(target.at(("names",)))

    return at_once(edited(session, b"key", document, append, RECORD, Work(), is_quick=is_quick))()


@pytest.mark.parametrize("is_quick", [True, False])
def test_edit_changes_the_document_and_is_recorded(plain: Session, is_quick: bool) -> None:
    keyspace = plain.keyspace
    keyspace.set(b"key", value_of(Document(copy.deepcopy(LONG))))
    before: Any = keyspace.live(b"key")
    names, changes = before.root["names"], before.changes
    assert edit(plain, is_quick=is_quick) == TEXT_BYTES + 1
    assert keyspace.peek(b"key") is before
    assert before.changes > changes
    assert len(before.root["names"]) == TEXT_BYTES + 1
    # A draft leaves alone what is there.
    assert (before.root["names"] is names) is is_quick
    assert keyspace.records.take() == [RECORD]


@pytest.mark.parametrize("is_quick", [True, False])
def test_frozen_document_is_left_alone(plain: Session, is_quick: bool) -> None:
    keyspace = plain.keyspace
    keyspace.set(b"key", value_of(Document(copy.deepcopy(LONG))))
    cut = keyspace.cut()
    edit(plain, is_quick=is_quick)
    frozen: Any = cut.lookup(b"key")
    assert frozen.root == LONG
    for _ in keyspace.fold(cut):
        pass
    kept: Any = keyspace.live(b"key")
    assert len(kept.root["names"]) == TEXT_BYTES + 1


def test_draft_is_seen_by_nobody_before_its_end(plain: Session) -> None:
    keyspace = plain.keyspace
    keyspace.set(b"key", value_of(Document(copy.deepcopy(LONG))))
    document: Any = at_once(opened(plain, b"key"))

    def replace(target: Document, work: Work) -> Steps[Reply]:
        target.put(("names",), [1])
        yield
        target.put(("more",), 2)
        return None

    steps = edited(plain, b"key", document, replace, RECORD, Work(), is_quick=False)
    next(steps)
    assert document.root == LONG
    finish = at_once(steps)
    assert document.root == LONG
    finish()
    assert document.root == {"names": [1], "more": 2}
    assert document.size_bytes() < 2000


def test_text_of_a_document_is_what_it_was(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", canonical(LONG))
    assert run(session, "JSON.ARRTRIM", "k", "$.names", "0", "1") == [2]
    assert run(session, "JSON.GET", "k") == canonical({"names": ["x" * 20] * 2})
