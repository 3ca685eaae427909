"""Random calls of the libraries of Lua's scripts, as text of Lua: usual ones, odd ones, and damaged input.

Keys have less than 32 bytes: redis-server's Lua hashes longer ones in a way of its own, so that `pairs` gives another order.

`SHOWN` is Lua's side: a function that runs such texts and shows what they return or raise, down to each bit of a number.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

SHOWN = b"""
local function show(v, depth)
  local kind = type(v)
  if kind == "number" then
    if v ~= v then return "nan" end
    return string.format("%.17g", v)
  elseif kind == "string" then
    return "<" .. v .. ">"
  elseif kind == "table" then
    if depth > 40 then return "..." end
    local parts = {}
    for key, item in pairs(v) do parts[#parts + 1] = show(key, depth + 1) .. "=" .. show(item, depth + 1) end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif kind == "boolean" or kind == "nil" then
    return tostring(v)
  end
  return kind
end
local function all(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = show((select(i, ...)), 0) end
  return table.concat(parts, " ")
end
local results = {}
for i, text in ipairs(ARGV) do
  local f, problem = loadstring("local a, b, c, d, e, f = " .. text .. " return a, b, c, d, e, f", "@user_script")
  results[i] = f and all(pcall(f)) or problem
end
return results
"""


def _words(text: str) -> list[str]:
    return text.split()


NUMBERS = _words("""
    0 1 -1 2 7 31 32 33 127 128 129 255 256 257 65535 65536 65537 2147483647 2147483648 -2147483648 -2147483649
    4294967295 4294967296 -4294967296 4294967297 9007199254740991 9007199254740993 1e15 -1e15 1e300 -1e300 1e-300
    5e-324 2.2e-308 1.5 -1.5 2.5 0.5 -0.5 0.1 3.14159265358979 1e14 123456789012345 2^51 -2^51 2^51+0.5 2^52 2^53
    2^62 2^63 -2^63 2^64 2^70 3.4028234663852886e38 1e39 1e-45 7e-46 1.17549435e-38 16777217 0.30000000000000004
    1/0 -1/0 0/0 -(0/0) -0 0.333251953125
""")
WORDS = [
    "",
    "a",
    "key",
    "id",
    "hello world",
    'q"uote',
    "back\\slash",
    "sl/ash",
    "tab\tnew\nline\r",
    "\x00zero\x00",
    "\x7f\x1f",
    "é",
    "日本",
    "😀",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "12",
    "0x1F",
    " 7 ",
    "nan",
    "inf",
    "null",
]


def literal(data: bytes) -> str:
    """A string of Lua with these bytes."""
    return '"' + "".join(f"\\{byte:03d}" if not 32 <= byte < 127 or byte in b'"\\' else chr(byte) for byte in data) + '"'


def word(rng: Random) -> str:
    if rng.random() < 0.2:
        return literal(rng.randbytes(rng.randrange(12)))
    return literal(rng.choice(WORDS).encode())


def long_word(rng: Random) -> str:
    return literal(b"y" * rng.choice((32, 33, 255, 256, 257, 1000)))


def number(rng: Random) -> str:
    return rng.choice((rng.choice(NUMBERS), str(rng.randrange(-300, 70_000)), repr(rng.gauss(0, 1e6))))


def value(rng: Random, depth: int = 0) -> str:
    """A value of any type, tables with holes and with keys of all types among them."""
    drawn = rng.random()
    if drawn < 0.3 or depth > 3:
        return number(rng)
    if drawn < 0.53:
        return word(rng)
    if drawn < 0.55:
        return long_word(rng)
    if drawn < 0.6:
        return rng.choice(("true", "false", "nil", "cjson.null", "type", "math.floor"))
    items = [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    if drawn < 0.75:
        return "{" + ",".join(items) + "}"
    if drawn < 0.95:
        return "{" + ",".join(f"[{word(rng)}]={item}" for item in items) + "}"
    keys = (f"[{rng.choice(('1', '2', '3', '5', '12', '40', '1.5', '0', '-1', 'true', '2^31', '2^40'))}]=" for _ in items)
    return "{" + ",".join(key + item for key, item in zip(keys, items, strict=True)) + "}"


def _document(rng: Random, depth: int = 0) -> object:
    drawn = rng.random()
    if drawn < 0.25 or depth > 3:
        return rng.choice((0, 1, -1, 1.5, 12345678901234567890, 1e300, -0.0, 1e-7, rng.randrange(10**6)))
    if drawn < 0.5:
        return rng.choice(WORDS)
    if drawn < 0.6:
        return rng.choice((True, False, None))
    items = [_document(rng, depth + 1) for _ in range(rng.randrange(4))]
    return items if drawn < 0.8 else {rng.choice(WORDS): item for item in items}


SEPARATORS = ((",", ":"), (", ", ": "), (" \n,\t", "\r :  "))
ODD_JSON = _words(r"""
    [0x1F] [0x1.8p3] [0x1p] [-0X10] [007] [1.] [.5] [+1] [-] [1e5] [1E+5] [1e] [1e-400] [1e400] [nan] [NaN] [-NaN]
    [Infinity] [-inf] [nul] [tru] [truefalse] [1,] [,1] [1 2] {"a"} {"a":} {"a":1,} {1:2} {,} {"a":1 "b":2}
    ["\u00e9\ud83d\ude00"] ["\ud83d"] ["\ud83d\u0041"] ["\ude00"] ["\u12"] ["\x"] ["abc ["a\ [[[[ ]]]]
    {"a":[{"b":[null,true]}]} "\u0000" null true 12 "x" x 1x [1}] {"a":1] {"a":nan} {"a":}}
""")
SPACED_JSON = (
    "",
    " ",
    "[1\x00]",
    "\x001",
    "1\x00",
    "[1]\x00",
    " [ 1 , 2 ] ",
    ' { "a" : 1 } ',
    "[ ]",
    "{ }",
    "[\x0b1]",
    "[1] x",
    "[\x00",
    '"\x00"',
)


def json_text(rng: Random) -> bytes:
    drawn = rng.random()
    if drawn < 0.2:
        return rng.choice(ODD_JSON + list(SPACED_JSON)).encode()
    text = json.dumps(_document(rng), separators=rng.choice(SEPARATORS), ensure_ascii=rng.random() < 0.5).encode()
    return damaged(rng, text) if drawn < 0.6 else text


def damaged(rng: Random, data: bytes) -> bytes:
    """The bytes with one of them cut out, changed or put in, or without their end."""
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    other = bytes([rng.choice((rng.randrange(256), rng.choice(b'[]{},:"\\0123456789eE+-. tfnux'), rng.randrange(0x90, 0xE0)))])
    return data[:at] + (b"" if kind == 1 else other) + data[at + (kind < 3) :]


CJSON_OPTIONS = {
    "encode_sparse_array": (
        "",
        "true",
        "false",
        "'on'",
        "'off'",
        "'x'",
        "1",
        "true, 3",
        "true, 0, 0",
        "false, 2, 3, 4",
        "nil, nil, -1",
        "{}",
    ),
    "encode_max_depth": ("", "1", "3", "0", "1.9", "'2'", "'x'", "nil", "2^31", "2^32+1", "1, 2", "-1", "0/0"),
    "decode_max_depth": ("", "1", "3", "0", "'x'", "true"),
    "encode_number_precision": ("", "1", "3", "14", "15", "17", "0", "'5'"),
    "encode_keep_buffer": ("", "true", "false", "'on'", "3", "nil, 1"),
    "encode_invalid_numbers": ("", "true", "false", "'null'", "'on'", "'off'", "'foo'", "{}"),
    "decode_invalid_numbers": ("", "true", "false", "'null'", "'on'", "1"),
}
ARGUMENTS = ("", "nil", "{}", "1", "true", "'x', 'y'", "type", "cjson.null")


def cjson(rng: Random) -> str:
    drawn = rng.random()
    if drawn < 0.03:
        return f"{rng.choice(('cjson.encode', 'cjson.decode', 'cjson:encode', 'cjson:decode'))}({rng.choice(ARGUMENTS)})"
    if drawn < 0.05:
        return f"pcall(cjson.new().{rng.choice(('encode', 'decode', *CJSON_OPTIONS))}, {rng.choice(ARGUMENTS[1:])})"
    call = f"encode({value(rng)})" if rng.random() < 0.5 else f"decode({literal(json_text(rng))})"
    if drawn < 0.7:
        return f"cjson.{call}"
    name = rng.choice(list(CJSON_OPTIONS))
    option = f"c.{name}({rng.choice(CJSON_OPTIONS[name])})"
    return f"(function() local c = cjson.new() local x, y, z = {option} local v = c.{call} return {{x, y, z, v}} end)()"


def cmsgpack(rng: Random) -> str:
    drawn = rng.random()
    values = ", ".join(value(rng) for _ in range(rng.choice((1, 1, 1, 2, 3))))
    if drawn < 0.04:
        name = rng.choice(("pack", "unpack", "unpack_one", "unpack_limit"))
        return rng.choice(
            (f"cmsgpack.{name}({rng.choice(ARGUMENTS)})", f"pcall(cmsgpack.{name}, {rng.choice(ARGUMENTS[1:])})")
        )
    if drawn < 0.4:
        return f"cmsgpack.pack({values})"
    if drawn < 0.6:
        return f"cmsgpack.unpack(cmsgpack.pack({values}))"
    packed = rng.choice(PACKED)
    if rng.random() < 0.5:
        packed = damaged(rng, packed)
    if drawn < 0.85:
        return f"cmsgpack.unpack({literal(packed)})"
    offset = rng.choice(("", ", 0", ", 1", ", 3", ", 100", ", -1", ", '1'", ", nil", ", 'x'"))
    if drawn < 0.93:
        return f"cmsgpack.unpack_one({literal(packed)}{offset})"
    return f"cmsgpack.unpack_limit({literal(packed)}, {rng.choice(('0', '1', '2', '10', '-1', 'nil'))}{offset})"


# In hexadecimal: what the other side might have packed, damage, and lengths that are only declared.
PACKED = [
    bytes.fromhex(text)
    for text in _words("""
        017fe0ffc0c2c3
        cc80cd0100ce00010000cf0000000100000000
        d080d18000d280000000d38000000000000000
        d3fffffffffffffffecfffffffffffffffff
        ca3fc00000ca7f800000ca00000001cb3ff8000000000000cb0000000000000001
        a3616263d903616263da0003616263db00000003616263
        9301a178c0dc00020102dd0000000105
        82a16101a162920102de00010102df00000001a16ba176
        81c001
        81cb7ff800000000000001
        c1
        d40101
        ddffffffff
        dfffffffff0101
        dbffffffff616263
    """)
]


FORMAT_OPTIONS = _words("""
    b B h H l L T f d x i I i1 i2 i3 I5 i8 I8 i9 I16 i32 i33 i0 s c c0 c3 c10 > < ! !1 !2 !4 !8 !3 !0 z Z ? c99999999999
""")
BIT_FUNCTIONS = ("tobit", "bnot", "bswap", "tohex", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror")


def struct(rng: Random) -> str:
    options = FORMAT_OPTIONS
    usual = options[:23]
    fmt = "".join(
        rng.choice(usual if rng.random() < 0.8 else options) + rng.choice(("", "", " ")) for _ in range(rng.randrange(1, 6))
    )
    if rng.random() < 0.03:
        fmt += "\x00b"
    quoted = literal(fmt.encode())
    drawn = rng.random()
    if drawn < 0.04:
        name = rng.choice(("pack", "unpack", "size"))
        return rng.choice((f"struct.{name}({rng.choice(ARGUMENTS)})", f"pcall(struct.{name}, {rng.choice(ARGUMENTS[1:])})"))
    if drawn < 0.15:
        return f"struct.size({quoted})"
    if drawn < 0.6:
        arguments = "".join(f", {number(rng) if rng.random() < 0.7 else word(rng)}" for _ in range(rng.randrange(7)))
        return f"struct.pack({quoted}{arguments})"
    data = rng.randbytes(rng.randrange(80)) if rng.random() < 0.7 else bytes(rng.choices((0, 1, 2, 3, 97, 128, 255), k=40))
    start = rng.choice(("", "", "", "", ", 1", ", 2", ", 5", ", 0", ", -1", ", 100", ", nil", ", 'x'"))
    return f"struct.unpack({quoted}, {literal(data)}{start})"


def bit(rng: Random) -> str:
    name = rng.choice(BIT_FUNCTIONS)
    count = rng.choice((1, 2)) if name == "tohex" else 2 if name in ("lshift", "rshift", "arshift", "rol", "ror") else 1
    if name in ("band", "bor", "bxor"):
        count = rng.randrange(1, 5)
    drawn = rng.random()
    if drawn < 0.05:
        count = rng.randrange(4)
    arguments = [
        number(rng) if rng.random() < 0.97 else rng.choice(("nil", "{}", "'x'", "'12'", "'0x1F'", "true"))
        for _ in range(count)
    ]
    return f"bit.{name}({', '.join(arguments)})"


GRAMMARS: dict[str, Callable[[Random], str]] = {"cjson": cjson, "cmsgpack": cmsgpack, "struct": struct, "bit": bit}
