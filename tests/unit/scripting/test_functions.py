"""Function libraries: heads, names, and that what is kept and what there is of functions never part."""

from __future__ import annotations

import logging
import re

import pytest

from kvserver.data.libraries import Libraries
from kvserver.data.records import Records
from kvserver.errors import CommandError
from kvserver.scripting.functions import BAD_NAME, Functions, Head, Register, read_head


class Setting:
    """Functions whose code is not Lua: each word of it is the name of a function, and `fail` fails."""

    def __init__(self) -> None:
        self.records = Records()
        self.texts = Libraries(self.records)
        self.functions = Functions(self.texts, self.run)
        self.runs = 0

    def run(self, code: bytes, register: Register) -> None:
        self.runs += 1
        for word in code.split():
            name, _, flags = word.partition(b":")
            if word == b"fail":
                raise CommandError("ERR it fails")
            problem = register(name, object(), False, flags)
            if problem:
                raise CommandError(f"ERR {problem.decode()}")

    def load(self, text: bytes, *, replaces: bool = False) -> bytes:
        return self.functions.load(text, replaces=replaces)

    def names(self) -> dict[bytes, list[bytes]]:
        return {name: list(library.functions) for name, library in self.functions.libraries.items()}


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_head_is_the_first_line() -> None:
    assert read_head(b"#!lua name=a\nx\ny") == Head(b"lua", b"a", b"\nx\ny")
    assert read_head(b'#!LUA  "name=a b" \n') == Head(b"LUA", b"a b", b"\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "Missing library metadata"),
        (b"#!lua name=a", "Invalid library metadata"),
        (b"#!lua\0 name=a\n", "Invalid library metadata"),
        (b'#!lua "name=a\n', "Invalid library metadata"),
        (b"#!lua\n", "Library name was not given"),
        (b"#!lua name=a NAME=b\n", "Invalid metadata value, name argument was given multiple times"),
        (b"#!lua x=\xff\n", "Invalid metadata value given: x=\udcff"),
    ],
)
def test_wrong_head_is_told(text: bytes, error: str) -> None:
    with pytest.raises(CommandError, match=f"^ERR {re.escape(error)}$"):
        read_head(text)


def test_library_is_kept_with_its_functions(setting: Setting) -> None:
    assert setting.load(b"#!lua name=a\nf g:no-writes,allow-oom,no-writes") == b"a"
    function = setting.functions.find(b"G")
    assert function is not None
    assert (function.name, function.kind, function.flags) == (b"g", "FUNCTION", frozenset({b"no-writes", b"allow-oom"}))
    assert function.flags_in_order == [b"no-writes", b"allow-oom"]
    assert (setting.functions.function_count, setting.functions.find(b"h")) == (2, None)
    assert setting.records.take() == [[b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=a\nf g:no-writes,allow-oom,no-writes"]]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"#!lua name=a-b\nf", BAD_NAME),
        (b"#!js name=b\nf", "ERR Engine 'js' not found"),
        (b"#!lua name=a\ng", "ERR Library 'a' already exists"),
        (b"#!lua name=b\n", "ERR No functions registered"),
        (b"#!lua name=b\ng F", "ERR Function F already exists"),
        (b"#!lua name=b\ng g", "ERR Function already exists in the library"),
        (b"#!lua name=b\ng-h", BAD_NAME),
        (b"#!lua name=b\ng fail", "ERR it fails"),
    ],
)
def test_library_that_is_refused_changes_nothing(setting: Setting, text: bytes, error: str) -> None:
    setting.load(b"#!lua name=a\nf")
    setting.records.take()
    with pytest.raises(CommandError, match=f"^{re.escape(error)}$"):
        setting.load(text)
    assert (setting.names(), setting.texts.copy(), setting.records.has_any) == (
        {b"a": [b"f"]},
        {b"a": b"#!lua name=a\nf"},
        False,
    )


def test_library_takes_the_place_of_its_own_and_its_names_are_free(setting: Setting) -> None:
    setting.load(b"#!lua name=a\nf g")
    setting.load(b"#!lua name=a\nf h", replaces=True)
    setting.load(b"#!lua name=b\ng")
    assert setting.names() == {b"a": [b"f", b"h"], b"b": [b"g"]}
    setting.functions.delete(b"a")
    assert setting.names() == {b"b": [b"g"]}
    assert setting.functions.find(b"f") is None
    with pytest.raises(CommandError, match=r"^ERR Library not found$"):
        setting.functions.delete(b"a")


@pytest.mark.parametrize(
    ("policy", "texts", "error", "names"),
    [
        ("APPEND", [b"#!lua name=b\ng"], "", {b"a": [b"f"], b"b": [b"g"]}),
        ("APPEND", [b"#!lua name=b\ng", b"#!lua name=a\nh"], "ERR Library a already exists", {b"a": [b"f"]}),
        ("APPEND", [b"#!lua name=b\nf"], "ERR Function f already exists", {b"a": [b"f"]}),
        ("REPLACE", [b"#!lua name=b\ng", b"#!lua name=a\nh"], "", {b"b": [b"g"], b"a": [b"h"]}),
        ("REPLACE", [b"#!lua name=b\nf"], "ERR Function f already exists", {b"a": [b"f"]}),
        ("FLUSH", [b"#!lua name=b\nf"], "", {b"b": [b"f"]}),
        ("FLUSH", [], "", {}),
        ("FLUSH", [b"#!lua name=b\nf", b"x"], "ERR Missing library metadata", {b"a": [b"f"]}),
        ("FLUSH", [b"#!lua name=b\nf", b"#!lua name=b\ng"], "ERR Library 'b' already exists", {b"a": [b"f"]}),
        ("FLUSH", [b"#!lua name=b\nf", b"#!lua name=c\nf"], "ERR Function f already exists", {b"a": [b"f"]}),
    ],
)
def test_restore_is_whole_or_nothing(
    setting: Setting, policy: str, texts: list[bytes], error: str, names: dict[bytes, list[bytes]]
) -> None:
    setting.load(b"#!lua name=a\nf")
    if error:
        with pytest.raises(CommandError, match=f"^{re.escape(error)}$"):
            setting.functions.restore(texts, policy)
    else:
        setting.functions.restore(texts, policy)
    assert setting.names() == names
    assert {name: text.partition(b"\n")[2].split() for name, text in setting.texts.copy().items()} == names


def test_texts_that_came_otherwise_become_functions_when_somebody_asks(setting: Setting) -> None:
    setting.load(b"#!lua name=a\nf")
    setting.texts.replace({b"a": b"#!lua name=a\nf", b"b": b"#!lua name=b\ng"})
    assert setting.runs == 1
    assert setting.functions.find(b"g")
    assert setting.functions.find(b"f")
    assert setting.runs == 2
    setting.texts.replace({})
    assert (setting.functions.find(b"g"), setting.names()) == (None, {})


def test_kept_library_that_can_not_be_loaded_is_told_and_kept(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    setting.texts.replace({b"a": b"#!lua name=a\nfail", b"b": b"#!lua name=b\ng"})
    with caplog.at_level(logging.ERROR):
        assert setting.names() == {b"b": [b"g"]}
    assert "the library a is kept, but can't be loaded: ERR it fails" in caplog.text
    assert set(setting.texts) == {b"a", b"b"}
    assert setting.runs == 2
