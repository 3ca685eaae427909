"""Scripts are compiled once, found by body and by SHA1, and their heads are read as Redis reads them."""

from __future__ import annotations

import hashlib

import pytest

from kvserver.errors import CommandError
from kvserver.scripting.scripts import Scripts, read_head


def test_script_is_compiled_once() -> None:
    compiled: list[bytes] = []

    def compile_text(text: bytes) -> object:
        compiled.append(text)
        return object()

    scripts = Scripts(compile_text)
    script = scripts.of(b"return 1")
    assert script is scripts.of(b"return 1") is scripts.by_sha[hashlib.sha1(b"return 1").hexdigest().encode()]
    assert compiled == [b"return 1"]
    assert (len(scripts), scripts.size_bytes > 0) == (1, True)
    scripts.clear()
    assert (len(scripts), scripts.size_bytes, dict(scripts.by_sha)) == (0, 0, {})


def test_script_that_does_not_compile_is_not_kept() -> None:
    def refuse(text: bytes) -> object:
        raise CommandError("user_script:1: no")

    scripts = Scripts(refuse)
    with pytest.raises(CommandError, match=r"^ERR Error compiling script \(new function\): user_script:1: no$"):
        scripts.of(b"x")
    assert not len(scripts)


@pytest.mark.parametrize(
    ("body", "flags", "text"),
    [
        (b"return 1", None, b"return 1"),
        (b"#!lua\nreturn 1", frozenset(), b"\nreturn 1"),
        (b"#!lua flags=\nx", frozenset(), b"\nx"),
        (b"#!lua flags=no-writes,allow-oom\nx", {b"no-writes", b"allow-oom"}, b"\nx"),
        (b"#!lua flags=no-writes flags=no-cluster\n", {b"no-writes", b"no-cluster"}, b"\n"),
    ],
)
def test_head_sets_flags_and_stays_a_line(body: bytes, flags: object, text: bytes) -> None:
    assert read_head(body) == (flags, text)


@pytest.mark.parametrize("body", [b"#!lua", b"#!python\n", b"#!lua x=1\n", b"#!lua flags\n", b"#!lua flags=no-write\n"])
def test_head_that_says_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(CommandError):
        read_head(body)
