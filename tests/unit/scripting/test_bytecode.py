"""Bytecode without tail calls does the same, and shows the line that called."""

from __future__ import annotations

from typing import Any

import pytest
from lupa import lua51

from kvserver.scripting.bytecode import HEADER, OP_TAILCALL, without_tail_calls

TEXT = b"""
local up, t = 1.5, {true, nil, "s", x = 2}
local function f(...) return select('#', ...) end
local function g(n) if n == 0 then return t.x + up end return g(n - 1) end
return f(1, nil, 'x'), g(3), (function() return f() end)()
"""


def compiled(text: bytes) -> tuple[Any, bytes]:
    runtime = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
    return runtime, bytes(runtime.eval(b"string.dump")(runtime.compile(text)))


def test_function_gives_the_same() -> None:
    runtime, dump = compiled(TEXT)
    changed = without_tail_calls(dump)
    assert len(changed) == len(dump)
    assert changed != dump
    assert runtime.compile(changed)() == runtime.compile(dump)() == (3, 3.5, 0)


def test_caller_stays_on_the_stack() -> None:
    runtime, dump = compiled(b"local function where() return debug.traceback() end\n\nreturn where()")
    assert b"tail call" in runtime.compile(dump)()
    trace = runtime.compile(without_tail_calls(dump))()
    assert b"tail call" not in trace
    assert b":3: in" in trace


def test_bytecode_without_a_tail_call_stays_as_it_is() -> None:
    _, dump = compiled(b"return 1")
    assert without_tail_calls(dump) == dump


@pytest.mark.parametrize("text", [b"", b"return 1", b"\x1bLua\x52" + HEADER[5:], HEADER[:-1]])
def test_what_is_no_bytecode_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no bytecode"):
        without_tail_calls(text)


def test_what_stands_behind_the_bytecode_is_refused() -> None:
    _, dump = compiled(b"return 1")
    with pytest.raises(ValueError, match="behind"):
        without_tail_calls(dump + bytes([OP_TAILCALL]))
