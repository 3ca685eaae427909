"""The libraries of scripts, alone in a Lua runtime: they do what redis-server's libraries do, to the texts of errors.

KVSERVER_LUA_LIBRARIES is the number of random calls of each library, KVSERVER_LUA_LIBRARIES_SEED the seed.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from helpers.lua_expressions import GRAMMARS, SHOWN
from helpers.servers import ServerProcess, parse
from kvserver.scripting.libraries import LIBRARIES, load_libraries, secret_name

lua51 = pytest.importorskip("lupa.lua51")

COUNT = int(os.environ.get("KVSERVER_LUA_LIBRARIES", "400"))
SEED = int(os.environ.get("KVSERVER_LUA_LIBRARIES_SEED", "0")) or Random().randrange(1, 1 << 32)
# Calls that chance hardly meets: the limits of nesting, and errors that are told at a line further down.
LIMITS = (
    b"#cjson.encode(cjson.decode(('['):rep(999) .. (']'):rep(999)))",
    b"cjson.decode(('['):rep(1000) .. (']'):rep(1000)) and 1",
    b"cjson.decode(('['):rep(1001))",
    b"cjson.decode(('{\"a\":'):rep(1001))",
    b"(function() local t = {} for i = 1, 1000 do t = {t} end local x = #cjson.encode(t) return x end)()",
    b"(function() local t = {} for i = 1, 999 do t = {t} end local x = #cjson.encode(t) return x end)()",
    b"(function() local t = {} t.t = t local x = cjson.encode(t) return x end)()",
    b"(function() local t = {} t.t = t local x = #cmsgpack.pack(t) return x end)()",
    b"#cmsgpack.pack(unpack({}, 1, 4000))",
    b"#cmsgpack.pack(unpack({}, 1, 4001))",
    b"select('#', cmsgpack.unpack(('\\1'):rep(7990)))",
    b"cmsgpack.unpack(('\\1'):rep(8001))",
    b"cmsgpack.unpack(('\\145'):rep(3997) .. '\\192') and 1",
    b"cmsgpack.unpack(('\\145'):rep(4000) .. '\\192')",
    b"cmsgpack.unpack(('\\129\\1'):rep(4005) .. '\\192')",
    b"struct.unpack(('b'):rep(8001), ('b'):rep(8001))",
    b"#cmsgpack.pack((function() local t = {} for i = 1, 65536 do t[i] = true end return t end)())",
    b"(function()\n\n local x = cjson.decode('[1,\\n2,')\n return x end)()",
    b"coroutine.resume(coroutine.create(function() local x = cjson.decode('[1,') end))",
    b"pcall(function() local decode = cjson.decode local x = decode({}) end)",
    b"pcall(function() local x = bit:band('x') end)",
    b"pcall(function() local x = struct:pack() end)",
    b"cjson.encode(setmetatable({[3] = 1}, {__index = function() return 1 end}))",
    b"cmsgpack.pack(setmetatable({}, {__index = function() return 1 end}))",
)


@pytest.fixture(scope="module")
def runtime() -> Any:
    runtime = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    for name, table in zip(LIBRARIES, load_libraries(runtime), strict=True):
        runtime.globals()[name.encode()] = table
    return runtime


def run(runtime: Any, texts: list[bytes]) -> list[bytes]:
    runtime.globals()[b"ARGV"] = runtime.table_from(texts)
    return list(runtime.compile(SHOWN, name=b"@user_script")().values())


def compare(texts: list[bytes], runtime: Any, oracle: ServerProcess) -> None:
    theirs = parse(oracle.once("EVAL", SHOWN, 0, *texts))
    assert type(theirs) is list, theirs
    for text, one, other in zip(texts, run(runtime, texts), theirs, strict=True):
        assert one == other, f"KVSERVER_LUA_LIBRARIES_SEED={SEED}: {text.decode()}"


@pytest.mark.parametrize("name", LIBRARIES)
def test_random_calls_give_what_they_give_in_redis_server(name: str, runtime: Any, running_redis: ServerProcess) -> None:
    rng = Random(f"{name} {SEED}")
    compare([GRAMMARS[name](rng).encode() for _ in range(COUNT)], runtime, running_redis)


def test_limits_are_those_of_redis_server(runtime: Any, running_redis: ServerProcess) -> None:
    compare(list(LIMITS), runtime, running_redis)


def test_function_that_a_coroutine_begins_with_fails_without_a_line(runtime: Any) -> None:
    text = b"coroutine.resume(coroutine.create(cjson.decode), '[')"
    assert run(runtime, [text])[0].startswith(b"true false <Expected value but found T_END at character 2>")


def test_name_of_code_is_not_told_by_its_errors(runtime: Any) -> None:
    name = secret_name()
    assert name != secret_name()
    runtime.globals()[b"raise"] = runtime.compile(b"error('x')", name=name)
    _, told = runtime.eval(b"pcall(raise)")
    assert told == name[1:60] + b":1: x"
