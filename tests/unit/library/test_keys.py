"""Keys become bytes and come back, also those that are no text to a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.library.keys import Keys

FOLDER, PLAIN = Keys(takes_bytes=True), Keys(takes_bytes=False)


@given(st.binary(max_size=8))
def test_each_key_of_a_server_has_a_name_of_its_own(name: bytes) -> None:
    text = FOLDER.text(name)
    assert FOLDER.texts([name, b"a"]) == [text, "a"]
    assert FOLDER.to_find(text) == FOLDER.to_write(text) == name


@given(st.text(max_size=8))
def test_each_key_of_plain_json_is_found_again(text: str) -> None:
    name = PLAIN.to_find(text)
    assert PLAIN.text(name) == text
    assert PLAIN.texts([b"a", name]) == ["a", text]


@pytest.mark.parametrize("text", ["\udcff", "a\ud800"])
def test_lone_surrogate_is_found_but_not_stored_in_plain_json(text: str) -> None:
    assert PLAIN.text(PLAIN.to_find(text)) == text
    with pytest.raises(UnicodeEncodeError):
        PLAIN.to_write(text)


def test_surrogate_that_names_no_byte_is_no_key_of_a_server() -> None:
    assert FOLDER.to_find("\ud800") == b"\xed\xa0\x80"
    with pytest.raises(UnicodeEncodeError):
        FOLDER.to_write("\ud800")
