"""Keys become bytes and come back, also those that are no text to a server."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvserver import Cache, KVStore
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


@given(st.text(st.characters(categories=["Cs", "Ll"]), max_size=4))
@example("\udcc3\udca9")
@example("\ud800")
@example("\udced\udca0\udc80")
def test_str_is_the_name_of_the_key_that_comes_back_as_it_or_of_none(text: str) -> None:
    name = FOLDER.to_find(text)
    if name == name:
        assert FOLDER.text(name) == text
        assert FOLDER.to_write(text) == name
    else:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            FOLDER.to_write(text)


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("text", ["\udcc3\udca9", "\ud800"])
def test_name_of_no_key_is_missing(text: str, is_frozen: bool) -> None:
    for store in (KVStore(), Cache[Any](policy="allkeys-lfu")):
        taken = {FOLDER.text(name): 1 for name in (text.encode("utf-8", "surrogatepass"), "é".encode(), b"")}
        store.update(taken)
        with store._frozen(store.databases.cut) if is_frozen else nullcontext():
            assert text not in store
            assert store.get(text) is None
            assert store.ttl(text) is None
            assert not store.delete(text)
            assert not store.expire(text, 1)
            assert store.pop(text, "missing") == "missing"
            with pytest.raises(KeyError):
                store[text]
            for write in (store.set, store.add, store.setdefault):
                with pytest.raises(ValueError, match="surrogates not allowed"):
                    write(text, 2)
            with pytest.raises(ValueError, match="surrogates not allowed"):
                store.incr(text)
            with pytest.raises(ValueError, match="surrogates not allowed"):
                store.update({"new": 1, text: 2})
        assert dict(store) == taken
