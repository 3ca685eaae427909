"""The traps of lupa, each of which would end the process or hand Python to a script: the interpreter steps into none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.scripting.interpreter import Interpreter

MIB = 1 << 20


class Host:
    """A host that does everything by one function."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def call(self, request: Request) -> Reply:
        return self.act()  # type: ignore[no-any-return]

    def set_protocol(self, protocol: int) -> None:
        self.act()

    def look(self) -> bytes | None:
        return None

    def log(self, level: int, text: bytes) -> None:
        self.act()

    def may_call(self, request: Request) -> bool | None:
        return self.act()  # type: ignore[no-any-return]

    def note_error(self, text: bytes, is_counted: bool) -> None:
        self.act()


def run(act: Callable[[], Any], text: str, keys: tuple[bytes, ...] = ()) -> Reply:
    """The reply of a script; another runs behind it."""
    interpreter = Interpreter(Host(act), 16 * MIB, "7.0.15")
    try:
        return interpreter.run(interpreter.compile(text.encode()), b"name", list(keys), len(keys), 2)
    finally:
        assert interpreter.run(interpreter.compile(b"return 'next'"), b"name", [], 0, 2) == b"next"


def leave() -> None:
    raise SystemExit


@pytest.mark.parametrize(
    "call",
    ["redis.call('get')", "redis.pcall('get')", "redis.log(1, 'x')", "redis.acl_check_cmd('get')", "redis.error_reply('x')"],
)
def test_no_exception_of_python_comes_to_a_script(call: str, caplog: pytest.LogCaptureFixture) -> None:
    script = f"local ok, e = pcall(function() return {call} end) return type(e)"
    assert run(leave, script) in (b"string", b"table", b"nil")
    # Nobody but the log is told, too, where it is a part of the reply that is noted.
    assert run(leave, "return redis.error_reply('x')") == b"-ERR x\r\n"
    assert "defect of kvserver" in caplog.text


@pytest.mark.parametrize("size", [15 * MIB, 17 * MIB, 100 * MIB])
def test_reply_that_does_not_fit_is_never_handed_over(size: int) -> None:
    for reply in (b"x" * size, [b"x" * MIB + b"%d" % number for number in range(size // MIB)]):
        with pytest.raises(CommandError, match="not enough memory"):
            run(lambda: reply, "local t = {} for i = 1, 30 do t[i] = redis.call('get') t[-i] = ('y'):rep(1e6) .. i end")  # noqa: B023
        with pytest.raises(CommandError, match="not enough memory"):
            run(lambda: reply, "local t = {} for i = 1, 30 do t[i] = redis.pcall('get') t[-i] = ('y'):rep(1e6) .. i end")  # noqa: B023


@pytest.mark.parametrize("keys", [(b"x" * 17 * MIB,), (b"x" * MIB,) * 20, (b"",) * 400_000])
def test_keys_that_do_not_fit_are_never_handed_over(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(CommandError, match="not enough memory"):
        run(lambda: 1, "return #KEYS", keys)


@pytest.mark.parametrize("count", [64, 65, 7000])
def test_many_words_come_over_both_ways(count: int) -> None:
    words = f"local t = {{}} for i = 1, {count} do t[i] = i end return #redis.call(unpack(t))"
    assert run(lambda: [b"x"] * count, words) == count


def test_one_list_that_stands_twice_in_a_reply_is_there_twice() -> None:
    inner: list[Reply] = [b"a"]
    assert (
        run(lambda: [[], [], inner, inner], "local r = redis.call('x') return #r .. #r[1] .. #r[2] .. r[3][1] .. r[4][1]")
        == b"400aa"
    )


def test_text_of_a_script_that_hardly_fits_leaves_room_for_the_next_one() -> None:
    with suppress(CommandError):
        run(lambda: 1, "local t = {" + ", ".join(f"'{number} is a text'" for number in range(90_000)) + "} return #t")
