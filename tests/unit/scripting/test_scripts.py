"""Scripts are compiled once, found by body and by SHA1, and their heads are read as Redis reads them."""

from __future__ import annotations

import hashlib

import pytest

from kvserver.errors import CommandError
from kvserver.scripting.scripts import BROUGHT_PART, CHANCES, PART, Scripts, read_head

LIMIT = 1 << 20


def text(number: int) -> bytes:
    return b"return %04d %b" % (number, b" " * 1000)


def test_script_is_compiled_once() -> None:
    compiled: list[bytes] = []

    def compile_text(text: bytes) -> object:
        compiled.append(text)
        return object()

    scripts = Scripts(compile_text, LIMIT)
    script = scripts.of(b"return 1")
    assert script is scripts.of(b"return 1") is scripts.by_sha[hashlib.sha1(b"return 1").hexdigest().encode()]
    assert compiled == [b"return 1"]
    assert (len(scripts), scripts.size_bytes > 0) == (1, True)


def test_script_that_does_not_compile_is_not_kept() -> None:
    def refuse(text: bytes) -> object:
        raise CommandError("user_script:1: no")

    scripts = Scripts(refuse, LIMIT)
    with pytest.raises(CommandError, match=r"^ERR Error compiling script \(new function\): user_script:1: no$"):
        scripts.of(b"x")
    assert not len(scripts)


def test_least_recently_used_of_what_eval_brought_is_dropped() -> None:
    scripts = Scripts(bytes.lower, LIMIT)
    loaded = [scripts.load(text(number)) for number in range(3)]
    # To name one that EVAL brought makes it stay, too.
    scripts.of(text(3))
    loaded.append(scripts.load(text(3)))
    room = LIMIT // BROUGHT_PART // loaded[0].size_bytes
    # Both ways to a script keep it: EVAL, and EVALSHA, which marks it.
    in_use = scripts.of(text(4))
    for number in range(5, 10 * room):
        scripts.of(text(number))
        if number % 2:
            assert scripts.of(text(4)) is in_use
        else:
            in_use.is_used = True
        assert len(scripts) <= room + len(loaded)
    assert len(scripts) == room + len(loaded)
    kept = [*range(5), *range(9 * room + 1, 10 * room)]
    assert [text(number) for number in kept] == sorted(script.body for script in scripts.by_sha.values())
    assert scripts.of(text(5)).body == text(5)


def test_script_of_any_size_stays_until_the_next_one_comes() -> None:
    scripts = Scripts(bytes.lower, LIMIT)
    large = scripts.of(b" " * LIMIT)
    assert scripts.by_sha == {large.name: large}
    small = scripts.of(b"return 1")
    assert scripts.by_sha == {small.name: small}


def test_no_script_waits_until_all_others_have_had_their_chance() -> None:
    scripts = Scripts(bytes.lower, 100 * LIMIT)
    room = 100 * LIMIT // BROUGHT_PART // scripts.of(text(0)).size_bytes
    for number in range(room):
        scripts.of(text(number)).is_used = True
    scripts.of(text(room))
    assert len(scripts) == room
    assert sum(script.is_used for script in scripts.by_sha.values()) == room - 1 - CHANCES


def test_what_is_loaded_has_its_part_of_the_memory() -> None:
    scripts = Scripts(bytes.lower, LIMIT)
    room = LIMIT // PART // scripts.load(text(0)).size_bytes
    for number in range(1, room):
        scripts.load(text(number))
    with pytest.raises(CommandError, match=r"not enough memory: what SCRIPT LOAD brought takes its part of lua-memory-limit$"):
        scripts.load(text(room))
    assert scripts.load(text(0)).body == text(0)
    assert scripts.of(text(room)).body == text(room)
    scripts.limit_bytes *= 2
    scripts.load(text(room))


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
