"""Scripts that mean harm end in an error or an end, and the next one runs: none takes the server's memory, its stack or it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.servers import ServerProcess, Wire, encode

MB = 1 << 20
# What the process may grow by: the limit of 8 MB, replies and texts on their way, and what the allocator keeps.
GROWTH = 160 * MB

MEMORY = {
    "a long string": "return #string.rep('x', 1e9)",
    "a long string that is caught": "local ok, e = pcall(string.rep, 'x', 1e9) return 1",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "a long concatenation": "local s, t = string.rep('x', 1e5), {} for i = 1, 1e4 do t[i] = s end return #table.concat(t)",
    "gsub that grows": "return #string.gsub(string.rep('x', 1e5), '.', string.rep('y', 1e4))",
    "tables": "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "tables, caught again and again": "while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) end",
    "memory that is full at a call": "local t = {} pcall(function() for i = 1, 1e9 do t[i] = ('x'):rep(100) .. i end end)"
    " return redis.call('get', 'big')",
    "replies that are kept": "local t = {} for i = 1, 1e4 do t[i] = redis.call('get', 'big') .. i end return 1",
    "replies that are kept by pcall": "local t = {} for i = 1, 1e4 do t[i] = redis.pcall('get', 'big') .. i end return 1",
    "lists that are kept": "local t = {} for i = 1, 1e4 do t[i] = redis.call('lrange', 'list', 0, -1) end return 1",
    "no collector": "collectgarbage('stop') for i = 1, 1e5 do local t = {i} end return 1",
    "a huge array in msgpack": "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
}
DEPTH = {
    "recursion": "local function f() return 1 + f() end return f()",
    "recursion that is caught": "local function f() return 1 + select(2, pcall(f)) end return f()",
    "tail calls": "local function f() return f() end return f()",
    "index of itself": "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
    "a chain of indexes": "local a, b = {}, {} setmetatable(a, {__index = b}) setmetatable(b, {__index = a}) return a.x",
    "brackets": "return " + "(" * 300 + "1" + ")" * 300,
    "braces": "return " + "{" * 100_000 + "}" * 100_000,
    "a deep reply": "local t = {} local r = t for i = 1, 100000 do t[1] = {} t = t[1] end return r",
    "a reply that holds itself": "local t = {} t[1] = t return t",
    "deep JSON": "return cjson.decode(string.rep('[', 100000))",
    "JSON that holds itself": "local t = {} t.t = t return cjson.encode(t)",
    "deep msgpack": "return cmsgpack.unpack(string.rep('\\145', 100000))",
    "msgpack that holds itself": "local t = {} for i = 1, 5 do t[i] = t end return #cmsgpack.pack(t)",
    "a long pattern": "return string.find(string.rep('a', 300000), string.rep('a?', 300000))",
    "many arguments": "local t = {} for i = 1, 1e6 do t[i] = i end return redis.call('get', unpack(t))",
    "error without an end": "error(setmetatable({}, {__tostring = function() error('x') end}))",
    "error that is a frozen table": "error(redis)",
    "error that is a function": "error(print)",
    "odd fields": "return {err = {}, ok = {}, double = 'x', map = 1, set = 2, verbatim_string = {}}",
    "an order that is none": "local t = {} for i = 1, 1e4 do t[i] = i % 7 end table.sort(t, function() return true end)",
    "a wide format": "return pcall(string.format, '%999999999d', 1)",
}
ESCAPES = (
    *("python", "os", "io", "debug", "package", "require", "dofile", "loadfile", "getfenv", "setfenv", "newproxy", "print"),
    *("_G.python", "rawget(_G, 'python')", "loadstring('return python')()", "redis.call.__class__", "redis.call.x"),
    *("loadstring(string.dump(function() return 42 end))()", "getmetatable(redis.call).__index", "cjson.null.x"),
    *("select(2, pcall(redis.call, {})).__traceback__", "('').__class__", "getmetatable('').__index.x"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--save", "", "--appendonly", "no", "--lua-memory-limit", "8mb", "--busy-reply-threshold", "60000")
    with ServerProcess("kvserver", tmp_path_factory.mktemp("hostile"), *options) as server:
        with server.connect() as wire:
            wire.command("SET", "big", "x" * 500_000)
            wire.command("RPUSH", "list", *("y" * 100,) * 10_000)
            assert wire.value("EVAL", "return 1", 0) == 1
        yield server


def check_next(wire: Wire, name: str) -> None:
    assert wire.command("EVAL", "return cjson.encode({1, KEYS[1]})", 1, "k") == b'$7\r\n[1,"k"]\r\n', name


def test_memory_is_limited(server: ServerProcess) -> None:
    with server.connect() as wire:
        before = server.memory_bytes("VmHWM")
        for name, script in MEMORY.items():
            reply = wire.command("EVAL", script, 0)
            assert len(reply) < 1000, name
            if name not in ("a long string that is caught", "no collector", "a huge array in msgpack"):
                assert reply.startswith(b"-ERR not enough memory"), (name, reply)
            check_next(wire, name)
        assert server.memory_bytes("VmHWM") - before < GROWTH


def test_depth_is_limited(server: ServerProcess) -> None:
    with server.connect() as wire:
        for name, script in DEPTH.items():
            # Some of the replies are too deep to be parsed.
            with server.connect() as other:
                other.send(encode("EVAL", script, 0))
                other.half_close()
                assert other.read_until_eof(), name
            check_next(wire, name)


def test_nothing_of_python_is_reached(server: ServerProcess) -> None:
    with server.connect() as wire:
        for expression in ESCAPES:
            reply = wire.command("EVAL", f"return type({expression})", 0)
            assert reply.startswith(b"-ERR ") or reply == b"$3\r\nnil\r\n", (expression, reply)
        script = (
            "local t = {} for n, l in pairs(_G) do if type(l) == 'userdata' then t[#t+1] = n end if type(l) == 'table' then "
        )
        script += "for k, v in pairs(l) do if type(v) == 'userdata' and k ~= 'null' then t[#t+1] = k end end end end return t"
        assert wire.value("EVAL", script, 0) == []
        check_next(wire, "a walk through all globals")
