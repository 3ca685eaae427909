"""Scripts that mean harm: each ends in an error or an end, and the next script runs. None gets memory, stack or Python.

Limits are small, so that they are reached at once. A script that has no end is killed, as its user would do it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.servers import ServerProcess, encode, wait_until

MIB = 1 << 20
OPTIONS = ("--save", "", "--appendonly", "no", "--lua-memory-limit", "8mb", "--busy-reply-threshold", "5")
# What the process may take at most: itself, that limit, replies and texts on their way, and what the allocator keeps.
PEAK_BYTES = 128 * MIB
KILLED = b"-ERR Script killed by user with SCRIPT KILL..."

# By what each of these does, and a text that is in the answer.
ENDLESS = {
    "nothing": "while true do end",
    "protected loops": "while true do pcall(function() while true do end end) end",
    "loops in xpcall": "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "a handler of xpcall": "xpcall(function() error('x') end, function() while true do end end)",
    "a coroutine": "local f = coroutine.wrap(function() while true do end end) f()",
    "coroutines without end": "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "yields": "local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end",
    "a replacement of gsub": "return string.gsub(string.rep('a', 100), '.', function() while true do end end)",
    "a comparison of sort": "table.sort({1, 2, 3}, function() while true do end end)",
    "calls": "while true do redis.call('get', 'k') end",
    "protected calls": "while true do redis.pcall('nope') end",
    "a metamethod": "return setmetatable({}, {__index = function() while true do end end}).x",
    "an error's field": "error(setmetatable({}, {__newindex = function() while true do end end}))",
    "an iterator": "for _ in function() return 1 end do end",
    "tables packed anew and anew": "local t = {} for i = 1, 10 do t[i] = t end return #cmsgpack.pack(t)",
    "a library in a protected loop": "local s = cjson.encode({1, 2, 3}) while true do pcall(cjson.decode, s) end",
    "a loaded text": "return loadstring('while true do end')()",
    "a long reply": "local t = {} for i = 1, 1000 do t[i] = 1 end local u = {} for i = 1, 1000 do u[i] = t end"
    " local v = {} for i = 1, 1000 do v[i] = u end return v",
    "a reader of load that is ours": "return load(math.random)",
    "a text with a name of ours": "return loadstring('while true do end', '=kvserver')()",
    "a text that is read with a name of ours": "local s = 'while true do end'"
    " return load(function() local t = s s = nil return t end, '=kvserver\\0x')()",
}
FILLING = {
    "a long string": "return #string.rep('x', 1e9)",
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
    "a table and then calls": "local t = {} pcall(function() for i = 1, 1e9 do t[i] = string.rep('x', 10000) .. i end end) "
    "while true do pcall(redis.call, 'get', 'big') t[#t + 1] = string.rep('y', 10000) .. #t end",
    "coroutines": "local t = {} for i = 1, 1e9 do t[i] = coroutine.wrap(function() coroutine.yield() end) t[i]() end",
    "closures": "local f = function() end for i = 1, 1e9 do local g = f f = function() return g end end",
    "decoded documents": "local t = {} for i = 1, 1e9 do t[i] = cjson.decode('[\"' .. string.rep('x', 1e5) .. i .. '\"]') end",
    "MessagePack in itself": "local t = {} for i = 1, 5 do t[i] = t end return #cmsgpack.pack(t)",
}
# Deep, long or odd ones, with an answer of their own.
ANSWERED = {
    "string.rep in pcall": ("return tostring(select(2, pcall(string.rep, 'x', 1e9)))", b"not enough memory"),
    "recursion": ("local function f() return 1 + f() end return f()", b"stack overflow"),
    "protected recursion": ("local function f() return 1 + select(2, pcall(f)) end return f()", b"script: "),
    "tail recursion": ("local function f() return f() end return f()", b"stack overflow"),
    "metamethods in a circle": ("return setmetatable({}, {__index = function(t, k) return t[k] end}).x", b"stack overflow"),
    "chain in a circle": (
        "local a, b = {}, {} setmetatable(a, {__index = b}) setmetatable(b, {__index = a}) return a.x", b"loop in gettable"
    ),
    "coroutine in coroutine": (
        "local function f() return coroutine.wrap(f)() end return f()", b"C stack overflow"
    ),
    "sort without order": (
        "local t = {} for i = 1, 1e4 do t[i] = i % 7 end return select(2, pcall(table.sort, t, function() return true end))",
        b"invalid order function for sorting",
    ),
    "many brackets": (f"return {'(' * 300}1{')' * 300}", b"chunk has too many syntax levels"),
    "many braces": (f"return {'{' * 100_000}1{'}' * 100_000}", b"chunk has too many syntax levels"),
    "many values": ("return unpack({}, 1, 1e7)", b"too many results to unpack"),
    "many words": ("local t = {} for i = 1, 7000 do t[i] = i end return redis.pcall('mget', unpack(t))[7000] == false", b":1"),
    "deep JSON": ("return cjson.decode(string.rep('[', 100000))", b"Found too many nested data structures (1001)"),
    "deep MessagePack": ("return cmsgpack.unpack(string.rep('\\145', 1e5))", b"stack overflow"),
    "declared MessagePack": ("return cmsgpack.unpack('\\221\\255\\255\\255\\255')", b"Missing bytes in input."),
    "sparse JSON": ("cjson.encode_sparse_array(false, 0, 0) return #cjson.encode({[2^31 - 1] = 1})", b"not enough memory"),
    "JSON in itself": ("local t = {} t.t = t return cjson.encode(t)", b"excessive nesting (1001)"),
    "error of no kind": ("error(redis)", b"script: "),
    "error that is a function": ("error(type)", b"-ERR function: "),
    "error whose text fails": ("error(setmetatable({}, {__tostring = function() error('x') end}))", b"-ERR nil script: "),
    "error whose fields are the script's": (
        "error(setmetatable({err = 'x'}, {__newindex = {}, __index = function() while true do end end}))", b"-x\r\n"
    ),
    "error without a text": ("error({err = setmetatable({}, {__tostring = function() end})})", b"-ERR table script: "),
    "odd reply": ("return {err = {}, ok = {}, double = 'x', map = 1, set = 2, verbatim_string = {}}", b"*0"),
    "wide number": ("return #string.format('%999999999d', 1)", b"invalid format (width or precision too long)"),
    "collector that was stopped": ("collectgarbage('stop') for i = 1, 1e5 do local t = {i} end return 1", b":1"),
    "long pattern": (
        "return string.find(string.rep('a', 3e5), string.rep('a?', 3e5) .. string.rep('a', 3e5))", b"pattern too complex"
    ),
    "pattern of captures": ("return string.find('a', string.rep('()', 33))", b"too many captures"),
    "many line ends in an error": (
        "local s = 'a' .. ('\\n'):rep(2e5) .. 'x' return {#redis.error_reply(s).err, {err = s}}", b"*2\r\n:200006\r\n-a  "
    ),
    "tail calls that are lost": (
        "return loadstring([[local function f(n) if n > 0 then return f(n - 1) end return redis.call('nope') end"
        " return f(1e7)]])()",
        b"Unknown Redis command",
    ),
    "NaN as a level": ("return redis.log(0/0, 'x')", b"Invalid debug level."),
}  # fmt: skip

ESCAPES = (
    *("python", "os", "io", "debug", "package", "require", "dofile", "loadfile", "getfenv", "setfenv", "newproxy", "print"),
    *("_G.python", "rawget(_G, 'python')", "loadstring('return python')()", "redis.call.__class__", "redis.call.x"),
    *("loadstring(string.dump(function() return 42 end))()", "getmetatable(redis.call).__index", "cjson.null.x"),
    *("select(2, pcall(redis.call, {})).__traceback__", "('').__class__", "getmetatable('').__index.x"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess("kvserver", tmp_path_factory.mktemp("hostile"), *OPTIONS) as server:
        with server.connect() as wire:
            wire.command("SET", "big", b"x" * (3 * MIB))
            wire.command("RPUSH", "list", *("y" * 100,) * 10_000)
        yield server


def answer(server: ServerProcess, script: str, *, kills: bool = False) -> bytes:
    """The answer to a script, which is killed if it has to be. The next script runs."""
    with server.connect() as wire, server.connect() as other:
        wire.send(encode("EVAL", script, 0))
        if kills:
            wait_until(lambda: other.command("SCRIPT", "KILL") == b"+OK\r\n", "the script can't be killed")
        found = wire.read_reply()
        assert wire.command("EVAL", "return cjson.encode({1, KEYS[1]})", 1, "k") == b'$7\r\n[1,"k"]\r\n'
        return found


@pytest.mark.parametrize("name", ENDLESS)
def test_script_without_an_end_is_killed(server: ServerProcess, name: str) -> None:
    assert answer(server, ENDLESS[name], kills=True).startswith(KILLED)


@pytest.mark.parametrize("name", FILLING)
def test_script_that_fills_the_memory_ends(server: ServerProcess, name: str) -> None:
    found = answer(server, FILLING[name])
    assert found.startswith(b"-ERR not enough memory"), found[:300]
    assert len(found) < 1000
    assert server.memory_bytes("VmHWM") < PEAK_BYTES


@pytest.mark.parametrize("name", ANSWERED)
def test_script_that_is_too_much_of_something_is_told(server: ServerProcess, name: str) -> None:
    script, text = ANSWERED[name]
    found = answer(server, script)
    assert text in found, found[:300]


@pytest.mark.parametrize(
    "script", ["local t = {} local r = t for i = 1, 1e5 do t[1] = {} t = t[1] end return r", "local t = {} t[1] = t return t"]
)
def test_reply_that_is_too_deep_ends_with_an_error(server: ServerProcess, script: str) -> None:
    with server.connect() as wire:
        wire.send(encode("EVAL", script, 0) + encode("ECHO", "behind"))
        found = wire.read_exactly(5 * len("*1\r\n") + 1)
        while not found.endswith(b"$6\r\nbehind\r\n"):
            found += wire.read_exactly(1)
    assert found == b"*1\r\n" * found.count(b"*1") + b"-ERR reached lua stack limit\r\n$6\r\nbehind\r\n"


def test_nothing_of_python_is_reached(server: ServerProcess) -> None:
    for expression in ESCAPES:
        found = answer(server, f"return type({expression})")
        assert found.startswith(b"-ERR ") or found == b"$3\r\nnil\r\n", (expression, found)
    walk = """
        local t = {}
        for n, l in pairs(_G) do
          if type(l) == 'userdata' then t[#t + 1] = n end
          if type(l) == 'table' then
            for k, v in pairs(l) do if type(v) == 'userdata' and k ~= 'null' then t[#t + 1] = k end end
          end
        end
        return t
    """
    assert answer(server, walk) == b"*0\r\n"
