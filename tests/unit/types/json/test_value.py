"""Documents have the right form in a journal, a dump and a payload."""

from __future__ import annotations

import json

import pytest

from kvserver.data.kinds import VALUE, kind_of
from kvserver.errors import DumpInvalid
from kvserver.formats.codec import JSON, PIECE_BYTES, JSONText, canonical
from kvserver.formats.digest import EMPTY
from kvserver.formats.rdb import BAD_FORMAT, dump, load, seal
from kvserver.formats.rdb_module import write_module_string
from kvserver.types import PLAIN, TAGGED
from kvserver.types.json.document import Document
from kvserver.types.json.value import DOCUMENT
from kvserver.types.string.value import as_string

LARGE = {"names": ["x" * 20] * 5000, "b": {"a": 1e16, "$kvs": None}}


def test_journal_stores_the_text_and_gives_it_its_expiry_behind() -> None:
    store = [b"JSON.SET", b"k", b"$", b"[1]"]
    assert DOCUMENT.recreation(b"k", JSONText(b"[1]"), None) == [store]
    assert DOCUMENT.recreation(b"k", JSONText(b"[1]"), 5) == [store, [b"PEXPIREAT", b"k", b"5"]]


def test_dump_is_that_of_the_string_of_its_text() -> None:
    assert dump(JSONText(b"12")) == dump(b"12")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (write_module_string("ReJSON-RL", 3, b"[1"), "the payload holds a document that can't be read: Expecting"),
        (write_module_string("ReJSON-RL", 3, b"[NaN]"), "the payload holds a document that can't be read: "),
        (
            write_module_string("ReJSON-RL", 3, b'"\xff"'),
            "the payload holds a document that can't be read: JSON must be UTF-8",
        ),
        (write_module_string("ReJSON-RL", 0, b"[1]"), "the payload holds a document in version 0 of ReJSON-RL, which this"),
        (write_module_string("graphdata", 3, b"[1]"), "the payload holds a value of the module type graphdata, which this"),
        (write_module_string("ReJSON-RL", 3, b"")[:-3] + b"\2\1\0", BAD_FORMAT),
    ],
)
def test_value_of_redisjson_that_is_no_document_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(DumpInvalid, match=f"^{reason}"):
        load(seal(body), 1_000)


@pytest.mark.parametrize("document", [LARGE, {}, [1, 2.5, None, "é"], 12, "text"])
def test_value_of_redisjson_is_read(document: JSON) -> None:
    text = json.dumps(document, indent=1).encode()
    value = load(seal(write_module_string("ReJSON-RL", 2, text)), 1 << 20)
    assert TAGGED.encode_entry(value) == canonical(document)


@pytest.mark.parametrize("length", [PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_pieces_are_short_and_stand_for_themselves(length: int) -> None:
    value = JSONText(b"1" * length)
    assert kind_of(value) is DOCUMENT
    steps = DOCUMENT.json_steps(value)
    with pytest.raises(StopIteration) as ended:
        next(steps)
    tag, pieces = ended.value.value
    found = list(pieces)
    assert (tag, b"".join(found), max(map(len, found))) == (VALUE, value, min(length, PIECE_BYTES))


def test_text_and_values_are_one_document_to_whoever_asks() -> None:
    text, document = JSONText(canonical(LARGE)), Document(LARGE)
    assert kind_of(document) is kind_of(text) is DOCUMENT
    for question in (DOCUMENT.json, DOCUMENT.dump, DOCUMENT.python, DOCUMENT.encoding):
        assert question(document) == question(text)
    assert DOCUMENT.recreation(b"k", document, 5) == DOCUMENT.recreation(b"k", text, 5)
    assert DOCUMENT.digest(document, EMPTY) == DOCUMENT.digest(text, EMPTY)
    assert DOCUMENT.python(document) is not LARGE
    for mapping in (PLAIN, TAGGED):
        assert b"".join(mapping.encode_long(document)) == b"".join(mapping.encode_long(text)) == mapping.encode_entry(document)
    assert DOCUMENT.size_bytes(document) > DOCUMENT.size_bytes(text)


@pytest.mark.parametrize("first", ["$kvs", "$kv"])
def test_large_values_that_look_like_a_tag_are_escaped(first: str) -> None:
    document = Document({first: {"value": ["x" * 20] * 5000}})
    encoded = b"".join(TAGGED.encode_long(document))
    assert encoded == TAGGED.encode_entry(JSONText(document.text()))


def test_strings_of_redis_are_read_of_a_large_document() -> None:
    assert as_string(Document(LARGE)) == canonical(LARGE)
