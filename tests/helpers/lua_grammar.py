"""The grammar of random scripts. Pure.

It is lines of `name = text | text`; a line that is indented goes on with the rule above it. `<name>` in a text stands for one
of that rule's, drawn anew each time; where scripts would get too deep, for one of those that end soonest. ¶ is a line end.

Most scripts run to their end: `sure` never fails, and what may fail (`any`, `failing`) stands in a `pcall` for the most part.
`a` is of any type, `b` is always a string, `c` a table. What scripts do is the same on each server:

- They never tell the address of a table or a function, what time it is, or the order of a set of words, of a hash with long
  values, or of texts with a NUL in SORT. Keys of tables have less than 32 bytes, since redis-server hashes longer ones
  in a way of its own.
- They never put a table into itself, nor move the end of a loop: to send the reply would take long, or for ever. So what comes
  into a table that is there is new or `plain`.
- They never end with an error that is a table without a text, by which redis-server 7.0 ends itself.
- They give no -0 to a command, since kvserver takes it for 0, nor have it as a constant, since Lua's compiler takes each 0 of
  the script for it then. They tell no error of the level above a function that was called by a tail call, since kvserver makes
  that a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_GRAMMAR = r"""
script = <locals><lines>return <result> | <locals><lines>return <result> | <locals><line>¶<line>¶<lines>return <result>
    | <locals><function>¶<lines>return <result> | <locals><line>¶<lines>return {a, b, c} | <locals><lines>error(<error>)
    | <locals><function>¶<line>¶<line>¶return {a, b, c} | <locals><lines><failing>¶return a | <locals><lines>return <any>
lines = | <line>¶<lines> | <line>¶ | <line>¶<line>¶<lines>
locals = local a, b, c = <plain>, <word>, {}¶a, b, c = <number>, <string>, <table>¶
    | local a, b, c = <plain>, <word>, {<plain>, <plain>}¶ | local a, b, c = <call>, <word>, {<call>, <call>}¶
    | local a, b, c = KEYS[1], <word>, {unpack(ARGV)}¶ | local a, b, c = <small>, <word>, {}¶c = <table>¶
function = local function f(...) <block> return ..., <sure> end¶a = f(<sure>, <sure>)
    | local function f(x, y) <block> return x, <sure> end¶a = {f(<sure>)}
    | local function f(x) if x > 0 then return f(x - 1) + 1 end return <number> end¶a = f(<small>)
    | local n = 0 local function f() n = n + 1 return n end¶a = f() + f()
    | local function f(x) return function(y) return x, y, b end end¶a = {f(<sure>)(<sure>)}
    | <checking>¶a = {pcall(function() local y = f(<sure>) return y end)}
    | local function f(...) local n = select('#', ...) return n, (select(n, ...)) end¶a = {f(<sure>, <sure>)}

checking = local function f(x) if type(x) ~= 'number' then error('no number', 2) end return x end
result = <sure> | <sure> | {<sure>, <sure>} | {<sure>, <sure>, {<sure>}} | {a, b, c} | {a, nil, b} | {nil, c}
    | {<call>, <call>} | <call> | <call> | a | b | c | <json> | <pack> | tostring(<scalar>) .. tostring(<scalar>)
    | <string>, <string> | <special> | {type(a), type(b), type(c)} | {<special>, <special>, <sure>} | <array-call>
    | redis.pcall(unpack(<words>)) | {pcall(function() <block> return <any>, <any> end)} | {<errors>} | <errors>
    | {<tried>, <tried>} | {pcall(<failure>)} | {#c, #b, <tried>} | redis.call(<words-of-call>)
special = {ok = <string>} | {err = <string>} | {err = <word>} | {double = <number>} | {big_number = <digits>}
    | {map = <table>} | {map = {a = <sure>, b = <sure>}} | {set = {a = true, b = <sure>}} | {set = <table>}
    | {map = {[<small>] = <sure>}} | {verbatim_string = {format = <word>, string = <string>}} | {verbatim_string = <table>}
    | {err = <sure>, ok = <sure>} | {double = <sure>, map = <sure>} | redis.error_reply(<string>)
    | redis.status_reply(<string>) | {ok = 'a', 1, 2} | {err = 'A b', 1} | redis.error_reply(<sure>)
    | redis.status_reply(<sure>) | redis.error_reply('-' .. <word>) | redis.error_reply('A ' .. <word>)
    | setmetatable({1}, {__index = {ok = 'x', err = 'y', [2] = 2}}) | {{err = <word>}, {ok = <word>}} | {big_number = <sure>}
error = <word> | {err = <word>} | {err = 'MY ' .. <word>, 1} | {err = <word>, x = 1} | <word>, 0 | <word>, 2
    | redis.error_reply(<word>) | {err = <word>, source = <word>, line = <small>} | {err = '-A b'} | tostring(<scalar>)
    | <small>

block = | <line> | <line> | <line> <line>
line = a = <sure> | a = <sure> | a = <sure> | b = <string> | c = <table> | <call> | <call> | <call> | <call> | <call> | <call>
    | redis.call(<words-of-call>) | if <condition> then <block> else <block> end
    | if <sure> then <block> elseif <condition> then <block> end | c[#c + 1] = <call> | a, b, c = c, type(a), {c}
    | for i = 1, <small> do <line> end | for i = <small>, 1, -1 do <block> if <condition> then break end end
    | for i, v in ipairs(<fresh>) do <block> c[#c + 1] = i end | for k, v in pairs(<fresh>) do c[#c + 1] = type(k) <block> end
    | for w in string.gmatch(<string>, <good-pattern>) do c[#c + 1] = w end | repeat <block> local x = true until x
    | for i = 1, #c do b = b .. type(c[i]) end | do local a = <sure> <block> end | a = {<tried>, <tried>} | a = <tried>
    | pcall(function() <block> <line> end) | a = pcall(function() <block> end) | a = {pcall(<failure>)} | a = <errors>
    | pcall(function() <failing> end) | a = {pcall(error, <thrown>)}
    | a = {xpcall(function() <caught> end, function(e) return type(e) end)} | redis.setresp(<protocol>) | redis.setresp(3)
    | redis.set_repl(redis.REPL_ALL) | c[#c + 1] = <plain> | c[<small>] = <plain> | c.x = <plain> | table.insert(c, <plain>)
    | a = table.remove(c) | pcall(table.sort, c) | table.insert(c, 1, <plain>)
    | table.sort(c, function(x, y) return type(x) < type(y) end) | c[<key>] = nil
    | local t = setmetatable({}, {<meta>}) a = {pcall(function() return <meta-use> end)}
    | local t = setmetatable({}, {<meta>, <meta>}) a = {pcall(function() return <meta-use> end)} | <coroutine>
    | redis.log(redis.LOG_DEBUG, <string>) | local t = <words> t[#t + 1] = <value> a = redis.pcall(unpack(t))
    | cjson.encode_sparse_array(<switch>, <ratio>, <small>) | cjson.encode_max_depth(<depth>)
    | cjson.decode_max_depth(<depth>) | math.randomseed(<small>) | cjson.encode_number_precision(<depth>)
    | cjson.encode_invalid_numbers(<switch>) | cjson.decode_invalid_numbers(<switch>) | b = string.rep(b, 2):sub(1, 50)
fresh = {<sure>, <sure>} | {unpack(<list>)} | {x = <sure>, <sure>} | {<decode>} | <array-call>
    | {ok = <sure>, err = <sure>, [3] = <sure>} | {<word>, x = 1}
failure = error | error, <word> | string.rep | redis.call | redis.call, 'nope' | redis.call, 'get' | tonumber
    | cjson.decode, 'x' | error, <word>, 2 | string.find | setmetatable | redis.error_reply | redis.setresp, 4
    | string.rep, 'x', -1 | setmetatable, 1, 2 | redis.call, 'hget', <key>, 'f' | unpack, 1
    | string.gsub, 'x', <pattern>, <replacement> | select, 0 | next, {}, 'x' | redis.sha1hex | redis.status_reply, 1
    | rawset, redis, 'x', 1 | redis.call, 'incr', <key> | cjson.encode, <any> | string.gmatch, 1
    | function() <block> <caught> end | string.format, '%d', <word> | table.concat, {{}} | <sure> | next, 1 | rawget, 1 | type
    | ipairs | pairs, 1 | loadstring, {} | bit.band | struct.pack
caught = <failing> | error(<thrown>) | local x = <any> | return <any>
failing = error(<error>) | local x = <sure> + {} | local x = nil .. <sure> | local x = #nil | local x = a.b.c.d | b()
    | redis.call('nope') | redis.call('set', <key>) | redis.call(<odd>) | redis.x() | redis.x = 1 | string.x = 1 | x = 1
    | a.x = <plain> | redis.call('lpush', <key>, 1) | local x = y | _G.x = <small> | KEYS[1].x.y = 1 | local x = {} < {}
    | local x = a < b | local x = redis.call(<wrong-call>) | setmetatable(redis, {}) | rawset(_G, 'x', 1) | string.rep()
    | local x = ('x'):rep({}) | local x = ('x'):nope() | c:nope() | math.floor({}) | for i = 1, {} do end
    | local t = {} t[nil] = 1 | local t = {} t[0/0] = 1 | assert(false, <word>) | assert(nil) | assert(<sure>, <word>)
    | c.d.e() | local x = <any> | local x = <strings> | local x = <tables> | setmetatable(1, {}) | local x = ('x'):gsub()
    | local x = c.y.z | for x in 1 do end | local x = tostring() | local x = cjson.decode(<string>)
thrown = <error> | {} | {1, 2} | nil | {err = {}} | {err = 1} | setmetatable({}, {__tostring = function() return 'x' end})
    | false
meta = __index = function(t, k) return k end | __index = {x = <sure>, [1] = <sure>} | __call = function(t, x) return x end
    | __index = function(t, k) error(k) end | __add = function(x, y) return <sure> end
    | __concat = function(x, y) return 'cat' end | __eq = function() return true end | __add = function(x) return x.y.z end
    | __lt = function() return true end | __len = function() return 7 end | __newindex = function(t, k, v) rawset(t, k, 1) end
    | __unm = function() return 9 end | __metatable = <word> | __tostring = function() return <word> end
meta-use = t.x | t[1] | t(<sure>) | t + 1 | 'x' .. t | t == setmetatable({}, getmetatable(t)) | t < t | #t | -t
    | rawget(t, 'x') | cjson.encode(t) | {t} | (function() t.y = 5 return t.y end)() | type(getmetatable(t))
    | cmsgpack.pack(t) | pcall(setmetatable, t, {}) | rawequal(t, t) | setmetatable(t, nil) and 1 | t.y.z
coroutine = for v in coroutine.wrap(function() for i = 1, <small> do coroutine.yield(<sure>) end end) do a = v end
    | <yielding> a = {coroutine.resume(co, <sure>)} a = {a, coroutine.resume(co, <sure>)}
    | local co = coroutine.create(function() <failing> end) a = {coroutine.resume(co)} c[1] = coroutine.status(co)
    | a = coroutine.wrap(function() return <call> end)() | local co = coroutine.wrap(function() <failing> end) a = {pcall(co)}
    | local co = coroutine.wrap(function() <block> end) co()
yielding = local co = coroutine.create(function(x) local y = coroutine.yield(x) <block> return y end)
sure = <number> | <string> | <table> | <call> | <call> | <call> | a | a | b | c | nil | true | false | (<sure> and <sure>)
    | (<sure> or <sure>) | <tried> | <tried> | ({<sure>, <sure>})[<index>] | <condition> | <errors> | redis.call | c[<index>]
    | (<array-call>)[<index>] | (<array-call>)[<index>] | ({<call>})[1] | <special> | <decode>
    | select(<one-or-two>, <sure>, <sure>) | (function() return <sure> end)() | {(<call>)} | c[#c] | type(<call>) | ARGV[1]
    | KEYS[1] | tonumber(ARGV[1])
one-or-two = 1 | 2 | -1 | '#'
tried = (select(2, pcall(function() return <any> end))) | (select(2, pcall(function() return <any> end)))
    | select('#', pcall(function() return <any> end)) | (select(2, pcall(function() <caught> end)))
    | #{pcall(function() return <strings> end)}
any = (<sure>)[<index>] | (<call>)[<index>] | (<sure> .. <sure>) | #<sure> | math.max(<sure>, 2) | <unpack> | <strings>
    | <tables> | <sure> + <sure> | -<sure> | <sure> < <sure> | <sure>() | tonumber(<sure>, <base>)
    | string.format('%d %s %5.1f', <sure>, <sure>, <sure>) | <sure>:len() | cjson.encode(<sure>) | cjson.decode(<string>)
    | redis.call(<words-of-call>) | redis.sha1hex(<sure>) | bit.tohex(<sure>, <sure>) | string.rep(<sure>, <small>)
    | table.concat(<list>, ',') | cmsgpack.pack(<sure>, <sure>) | (<unpack>) | math.floor(<sure>) | (<sure>)[<index>][<index>]
    | cjson.encode({<sure>, <sure>}) | struct.pack(<format>, <sure>, <sure>) | string.char(<number>) | <sure> % <number>
    | math.random(<sure>) | (<sure>).x.y
plain = <small> | <word> | <call> | <digits> | true | false | nil | ARGV[1] | <json> | #<string> | {} | {<word>} | cjson.null
    | 1.5
scalar = <number> | <condition> | tonumber(<sure>) | type(<sure>) | nil | <text>
condition = <number> < <number> | <string> == <sure> | not <sure> | a == nil | a ~= false | a == b | <number> >= 1
    | next(c) == nil | type(<sure>) == 'table' | <string> < <string> | redis.call('exists', <key>) == 1
    | (tonumber(ARGV[1]) or 0) > 1 | <call> == <sure>
number = <literal> | <literal> | <literal> | #<string> | #c | #ARGV | (<number> + <number>) | (<number> * (#c + <literal>))
    | (<number> - <number>) | (<number> / (#c + <literal>)) | (<number> % <literal>) | (tonumber(<string>) or 1)
    | math.floor(<number>) | math.ceil(<number>) | math.abs(<number>) | math.min(<number>, <number>) | math.sqrt(<number>)
    | (string.byte(<string>) or 0) | string.len(<string>) | (tonumber(<word>, <base>) or 2) | bit.band(<number>, 255)
    | bit.bor(<number>, 1) | bit.bxor(<number>, <literal>) | bit.lshift(<number>, <small>) | bit.bnot(<number>)
    | bit.rshift(<number>, 3) | bit.tobit(<number>) | bit.rol(<number>, 5) | (<string>):len() | (tonumber(a) or 2)
    | select('#', <sure>, <sure>) | math.random(<small> + 1) | (<number> ^ 2) | -1.5 | -7 | -3 | math.fmod(<number>, 7)
    | #redis.sha1hex(<string>) | select(2, math.modf(<number>)) | bit.arshift(<number>, 2) | bit.bswap(<number>) | math.huge
    | (redis.pcall('incr', 'n').err and 0 or 1) | redis.call('exists', <key>)
literal = 0 | 1 | 2 | 3 | 7 | 10 | 100 | 255 | 1.5 | 2.5 | 0.1 | 3.99 | 1e3 | 0x1F | 1e15 | 1e17 | 123456789 | 4294967296
    | 2^31 | 2^53 | 1e300 | 3.14159
small = 0 | 1 | 1 | 2 | 2 | 3 | 3 | 4
ratio = 1 | 2 | 3
depth = 1 | 2 | 3 | 5 | 14 | 14
base = 2 | 8 | 10 | 16 | 36
protocol = 2 | 3 | 3 | '3'
switch = true | false | 'on' | 'off'
index = 1 | 2 | 'ok' | 'err' | 'double' | 'map' | 'x' | 3 | -1 | 'f' | 1 | 1 | 'set'
string = <word> | <word> | <word> | tostring(ARGV[1]) | tostring(KEYS[1]) | b | b | <text> | <text> | <json> | <pack>
    | (<string> .. <string>) | (<string> .. <literal>) | tostring(<scalar>) | type(<sure>) | table.concat(ARGV, ' ')
    | table.concat(KEYS) .. #ARGV
text = string.upper(<string>) | string.lower(<string>) | string.reverse(<string>) | string.sub(<string>, <small>, -2)
    | string.format('%s', <string>) | string.rep(<word>, <small>)
    | (string.gsub(<string>, <good-pattern>, <good-replacement>)) | string.format(<format-of-number>, <number>)
    | string.format('%s|%5s|%-5s|%.2s', <string>, <word>, <word>, <word>) | string.format('%q', <string>)
    | table.concat({<string>, <number>}, ',') | (<string>):sub(<small>) | string.char(<byte>, <byte>)
    | (string.match(<string>, <good-pattern>) or 'none') .. '' | bit.tohex(<number>)
    | (string.gsub(<string>, '%w', {a = 'b', x = 1, v = false})) | redis.sha1hex(<string>)
    | string.format('%d %s', <number>, <string>) | ('%s'):rep(<small>) | table.concat({b, <word>, <string>}, <word>)
    | string.format('%5.2f', <number>) | tostring(<number>) | (string.find(<string>, <good-pattern>) or 0) .. ''
    | string.format('%c%%', <byte>) | (string.gsub(<string>, '%w', function(x) return <scalar> and x .. x end))
strings = string.find(<string>, <pattern>) | string.match(<string>, <pattern>)
    | string.gsub(<string>, <pattern>, <replacement>) | string.format(<format-of-number>, <sure>)
    | string.byte(<string>, 1, -1) | string.find(<string>, <word>, <small>, true) | unpack(<list>) | math.modf(<number>)
    | math.frexp(<literal>) | string.gsub(<sure>, <pattern>, <replacement>)
    | string.gsub(<string>, <pattern>, function(x) return <sure> end)
    | string.gsub(<string>, '%w', {a = 'b', x = 1, v = false}) | string.match(<sure>, <pattern>)
    | struct.unpack(<format>, <string>) | cmsgpack.unpack(<string>) | select(-1, <sure>, <sure>)
    | string.gsub(<string>, <pattern>, <replacement>, 1) | (<string>):gsub(<pattern>, {})
tables = next(<table>) | unpack(<list>, 1, <small>) | table.concat(<list>, <word>, 1, <small>) | #<list>, #<table>
    | table.getn(<list>) | table.maxn(<table>) | rawget(<table>, <index>), rawequal(a, b) | ipairs(<list>) and 1
    | unpack(<sure>) | table.remove(<list>, <small>) | rawlen | next(<sure>) | #<sure>, #<sure>
    | select(<small>, <sure>, <sure>)
word = 'x' | 'v' | 'hello' | '10' | '-3' | '1.5' | '' | 'a b' | 'k' | 'x,y;z' | 'é' | 'line\r\nend' | '\000\255' | ' 7 '
    | '0x10' | '1e3' | 'abcabc' | "it's" | [[long]]
digits = '0' | '123' | '-45' | '12345678901234567890' | '1\r\n2' | 'x'
byte = 0 | 65 | 97 | 255 | 10
good-pattern = '%a' | '%d+' | '.' | '(.)(.)' | 'x' | '^%s*(.-)%s*$' | '%w*' | '[a-c]+' | '()' | '%%' | 'b-' | '%f[%w]%w'
    | '%b()' | '[^,]+' | '(%a)%1' | '[%a_]'
pattern = <good-pattern> | <good-pattern> | '[a' | '%' | '(x' | '%f' | '%b' | 'x)'
good-replacement = 'z' | '%0%0' | '<%0>' | '' | {} | {x = 'y'}
replacement = <good-replacement> | '%1' | '%2' | '%9' | '%' | true | {x = {}}
format-of-number = '%d' | '%5.2f' | '%x' | '%g' | '%e' | '%05d' | '%.3g' | '%i' | '%u' | '%o' | '%+d' | '%.14g' | '%.17g'
    | '%X' | '%10.4s' | '%s'
format = '>I2' | 'bB' | '<i4' | 'd' | 's' | '>hI3' | 'c2' | '!4i2i4' | 'fz' | 'Lx' | '>l'
list = {<sure>, <sure>} | {<number>, <string>} | {<string>, <string>, <number>} | {unpack(ARGV)} | {unpack(KEYS)} | c | {}
    | {nil, <sure>} | {<number>, nil, <number>} | {<call>, <call>} | (<array-call>) | (<array-call>)
table = <list> | {x = <sure>, y = <sure>} | {[<literal>] = <sure>, [2] = <sure>} | {<sure>, x = <sure>}
    | {{<sure>}, {<sure>, {<sure>}}} | {<decode>} | {f = <call>, 1} | {[true] = <sure>} | {<sure>; <sure>; n = <number>}
    | {unpack(<list>)} | {ok = <word>, <sure>} | {pcall(<failure>)} | {<strings>} | {[<string>:sub(1, 9)] = <sure>}
json = (select(2, pcall(cjson.encode, <table>))) | (select(2, pcall(cjson.encode, {<sure>, <sure>}))) | cjson.encode(<word>)
    | cjson.encode({x = <literal>, <small>})
decode = (select(2, pcall(cjson.decode, <document>))) | (select(2, pcall(cjson.decode, <document>)))
    | (select(2, pcall(cjson.decode, <json>))) | (select(2, pcall(cjson.decode, <string>)))
document = '[1,2,{"x":[null,true]},"y"]' | '{"x":1.5,"ok":"fine"}' | '[]' | '{"err":"E x","a":[1e5,-0.5]}'
    | '["\\u00e9\\n", 12345678901234567890]' | '{"a":{"b":{"c":[1]}}}' | '[nul]'
pack = (cmsgpack.pack(<sure>)) | cmsgpack.pack(<sure>, <table>) | struct.pack('>I2', <small>) | struct.pack('>Bc0', 3, 'abc')
    | struct.pack('s', <word>) | struct.pack('>d', <number>) | struct.pack('>I2bB', <small>, <small>, 7)
    | cmsgpack.pack(<literal>, <word>, {<small>})
unpack = cmsgpack.unpack(<pack>) | cmsgpack.unpack(cmsgpack.pack(<sure>)) | cmsgpack.unpack(cmsgpack.pack(<table>))
    | struct.unpack(<format>, <pack>) | cmsgpack.unpack_one(<pack>, <small>)
    | cmsgpack.unpack_limit(cmsgpack.pack(<sure>, <sure>), 1)
errors = pcall(<failure>) | (select(2, pcall(<failure>))) | (select(2, pcall(function() <caught> end))) | redis.pcall('nope')
    | redis.pcall(<wrong-call>) | (select(2, pcall(redis.call, 'incr', <key>))) | redis.pcall('incr', <key>)
    | type(select(2, pcall(error, <thrown>)))
    | (select(2, xpcall(function() <caught> end, function(e) return type(e) == 'table' and e.err or e end)))
    | (select(2, loadstring(<source>))) | loadstring(<source>) and 1 | #{pcall(<failure>)}
    | {pcall(loadstring(<source>) or error)} | redis.error_reply(<word>).err
source = 'return 1' | 'x y' | 'return (' | 'local a = 1 a =' | '\27Lua' | 'for' | 'return "x' | 'return ]]' | 'return x'
    | 'x = 1' | 'return redis.call("ping")' | '\n\nerror("x")'

call = redis.pcall(<words-of-call>)
array-call = redis.pcall('lrange', <key-of-list>, 0, <small>) | redis.call('mget', 's', <key>, 'n')
    | redis.pcall('hgetall', 'h') | redis.pcall('smembers', 'i') | redis.pcall('zrange', 'z', 0, -1, 'withscores')
    | redis.pcall('hmget', 'h', 'f', 'g', 'x') | redis.pcall('xrange', 't', '-', '+')
    | redis.pcall('xread', 'streams', 't', 0) or {}
words = {'get', <key>} | {'set', <key>, <value>} | {'rpush', <key-of-list>, <value>, <value>} | {'mget', <key>, <key>}
    | {<odd>, <value>} | {'nope'} | {} | {'hmget', 'h', <field>, <field>} | {'exists', unpack(KEYS)} | {'del', unpack(ARGV)}
    | {'rpush', 'l', unpack(ARGV)}
key = 's' | 'n' | 'h' | 'l' | 'z' | 'i' | 't' | KEYS[1] | KEYS[2] | KEYS[1] | 'none'
key-of-string = 's' | 'n' | 's' | KEYS[1] | 'n'
key-of-list = 'l' | 'l' | 'l' | KEYS[1]
value = <small> | <word> | <digits> | ARGV[1] | ARGV[2] | <number> + 0 | <string> | b | <text> | <odd> | <json> | <text>
    | <word>
odd = nil | true | {} | <call> | <special> | redis.call | cjson.null | 1e300
short = <small> | <word> | <literal> | ARGV[1] | (<number> + 0) | 'f'
field = 'f' | 'g' | 'x' | <small> | ARGV[1]
score = 1 | 2.5 | -1 | <literal> | '1e3' | 'inf' | '-inf' | '(1' | (<number> + 0) | 'x' | ARGV[1]
member = 'x' | 'y' | 'a b' | <small> | ARGV[1] | ARGV[2]
whole = 1 | 2 | 3 | 5 | 10 | 100 | -1 | 4294967296 | <small> | '007' | 1.5
words-of-call = <strings-call> | <strings-call> | <strings-call> | <keys-call> | <keys-call> | <hash-call> | <hash-call>
    | <list-call> | <list-call> | <sorted-call> | <sorted-call> | <set-call> | <stream-call> | <stream-call> | <other-call>
    | <wrong-call>
strings-call = 'get', <key> | 'get', <key-of-string> | 'get', <key-of-string> | 'set', <key-of-string>, <value>
    | 'set', <key-of-string>, <value> | 'incr', <key-of-string> | 'incrby', 'n', <whole> | 'incrbyfloat', 'n', <short>
    | 'append', 's', <short> | 'strlen', <key> | 'getrange', 's', <small>, -1 | 'setrange', 's', <small>, <short>
    | 'mget', 's', <key>, 'n' | 'mset', 's', <value>, 'n', <small> | 'set', 's', <value>, 'get' | 'set', 's', <value>, 'nx'
    | 'set', 's', <value>, 'xx', 'get' | 'getset', 's', <value> | 'getdel', <key-of-string> | 'setnx', 's', <value>
    | 'decr', 'n' | 'setbit', 's', <small>, 1 | 'bitcount', 's' | 'bitfield', 's', 'get', 'u8', 0, 'incrby', 'u4', <small>, 1
    | 'lcs', 's', 'n' | 'lcs', 's', 'n', 'idx' | 'bitpos', 's', 1 | 'getex', 's', 'persist' | 'setex', 's', 1000, <value>
    | 'substr', 's', 0, <small> | 'lcs', 's', 's', 'len' | 'bitfield', 's', 'overflow', 'fail', 'incrby', 'u1', 0, 3
keys-call = 'del', <key> | 'type', <key> | 'exists', <key>, <key> | 'rename', <key>, <key> | 'copy', <key>, <key>
    | 'copy', <key>, <key>, 'replace' | 'ttl', 'never' | 'persist', <key> | 'dbsize' | 'object', 'encoding', <key>
    | 'unlink', <key> | 'renamenx', <key>, <key> | 'expire', <key>, 1000, 'xx' | 'touch', <key> | 'sort', <key>
    | 'sort', 'i', 'alpha' | 'sort', 'l', 'by', 'nosort', 'get', '#', 'get', 'n' | 'del', KEYS[1] | 'type', <key>
    | 'exists', <key> | 'expire', 'never', 1
hash-call = 'hset', 'h', <field>, <short> | 'hset', 'h', <field>, <short>, <field>, <short> | 'hget', 'h', <field>
    | 'hgetall', 'h' | 'hgetall', <key> | 'hmget', 'h', <field>, 'f' | 'hdel', 'h', <field> | 'hincrby', 'h', <field>, <whole>
    | 'hincrbyfloat', 'h', 'd', <whole> | 'hkeys', 'h' | 'hvals', 'h' | 'hlen', 'h' | 'hexists', 'h', <field>
    | 'hsetnx', 'h', <field>, <short> | 'hstrlen', 'h', <field> | 'hscan', 'h', 0 | 'hrandfield', 'never'
    | 'hset', KEYS[1], 'f', <short> | 'hmset', 'h', 'f', <short>
list-call = 'rpush', <key-of-list>, <value> | 'lpush', 'l', <value>, <value> | 'lrange', <key-of-list>, 0, -1
    | 'lrange', 'l', <small>, -2 | 'lpop', <key-of-list> | 'rpop', 'l', <small> | 'llen', <key> | 'lindex', 'l', <small>
    | 'lset', 'l', <small>, <value> | 'linsert', 'l', 'before', <short>, 'new' | 'lrem', 'l', 0, <short>
    | 'ltrim', 'l', 0, <small> | 'lmove', 'l', 'l', 'left', 'right' | 'rpoplpush', 'l', 'l' | 'lpos', 'l', <short>
    | 'lpos', 'l', <short>, 'count', 0 | 'lmpop', 2, 'l', <key>, 'left', 'count', 2 | 'blpop', 'l', 0 | 'blpop', <key>, 'l', 0
    | 'brpop', 'none', 0 | 'blmpop', 0, 1, 'l', 'right' | 'blmove', 'l', 'l', 'right', 'left', 0 | 'rpushx', 'l', <short>
    | 'lrange', <key>, 0, 1
sorted-call = 'zadd', 'z', <score>, <member> | 'zadd', 'z', 1.5, <member>, <score>, <member> | 'zscore', 'z', <member>
    | 'zrange', 'z', 0, -1, 'withscores' | 'zrange', <key>, 0, -1 | 'zadd', 'z', 'incr', <score>, <member>
    | 'zincrby', 'z', <score>, <member> | 'zrank', 'z', <member> | 'zrem', 'z', <member> | 'zcard', <key>
    | 'zmscore', 'z', 'x', <member> | 'zcount', 'z', <score>, '+inf' | 'zrangebyscore', 'z', <score>, <score> | 'zpopmin', 'z'
    | 'zpopmax', 'z', <small> | 'zrevrange', 'z', 0, <small>, 'withscores' | 'zunion', 2, 'z', 'i', 'withscores'
    | 'zmpop', 1, 'z', 'min' | 'bzpopmin', 'z', 0 | 'zadd', 'z', 'nx', 'ch', <score>, <member>
    | 'zrange', 'z', 0, -1, 'rev', 'withscores' | 'zadd', 'z', 'gt', 'incr', <score>, 'x' | 'zrangestore', 'i2', 'z', 0, 1
    | 'zdiff', 1, 'z', 'withscores' | 'zinter', 2, 'z', 'z' | 'bzmpop', 0, 1, 'z', 'max'
set-call = 'sadd', 'i', <small>, <whole-member> | 'sadd', 'i', <whole-member> | 'smembers', 'i' | 'smembers', 'i'
    | 'sismember', 'i', <small> | 'smismember', 'i', 1, 2 | 'scard', <key> | 'srem', 'i', <small> | 'sinter', 'i', 'i'
    | 'sunion', 'i', 'none' | 'sdiff', 'i', 'none' | 'sintercard', 1, 'i' | 'spop', 'never' | 'srandmember', 'never', 3
    | 'sscan', 'i', 0 | 'sort', 'i' | 'sort', 'i', 'desc', 'limit', 0, 2 | 'sunionstore', 'i', 'i', 'none'
    | 'pfadd', 'p', <member> | 'pfcount', 'p' | 'geoadd', 'g', <small>, <small>, <member> | 'geopos', 'g', 'x', 'none'
    | 'geodist', 'g', 'x', 'y'
    | 'geosearch', 'g', 'fromlonlat', 0, 0, 'bybox', 1000, 1000, 'km', 'asc', 'withcoord', 'withdist' | 'geohash', 'g', 'x'
whole-member = 1 | 2 | 5 | 70000 | -3 | 4294967296
stream-call = 'xadd', 't', <id>, <field>, <short> | 'xadd', 't', <id>, <field>, <short> | 'xlen', <key>
    | 'xrange', 't', '-', '+' | 'xrange', 't', <id>, '+', 'count', <small> | 'xread', 'streams', 't', 0
    | 'xread', 'count', 1, 'streams', 't', <key>, 0, <id> | 'xread', 'block', 0, 'streams', 't', '$' | 'xdel', 't', <id>
    | 'xrevrange', 't', '+', '-' | 'xtrim', 't', 'maxlen', <small> | 'xgroup', 'create', 't', 'g', <id>
    | 'xgroup', 'create', 't', 'g', 0, 'mkstream' | 'xreadgroup', 'group', 'g', 'c', 'streams', 't', '>'
    | 'xack', 't', 'g', <id> | 'xpending', 't', 'g' | 'xreadgroup', 'group', 'g', 'c', 'streams', 't', 0
    | 'xclaim', 't', 'g', 'd', 0, <id> | 'xclaim', 't', 'g', 'd', 0, <id>, 'justid' | 'xautoclaim', 't', 'g', 'd', 0, 0
    | 'xautoclaim', 't', 'g', 'd', 0, 0, 'count', 1, 'justid' | 'xinfo', 'stream', 't' | 'xinfo', 'groups', 't'
    | 'xgroup', 'delconsumer', 't', 'g', 'c' | 'xadd', 't', 'nomkstream', <id>, 'f', 1
    | 'xadd', 't', 'maxlen', 2, <id>, 'f', <short> | 'xsetid', 't', <id> | 'xgroup', 'destroy', 't', 'g'
    | 'xgroup', 'setid', 't', 'g', <id>
id = '1-1' | '1-2' | '2-1' | '3-*' | '5-1' | '7-*' | '9-9' | 0 | '2' | 'x'
other-call = 'ping' | 'ping', <value> | 'echo', <value> | 'select', <small> | 'publish', 'ch', <short> | 'wait', 0, 0
    | 'command', 'count', 'x' | 'command', 'getkeys', 'get', 'k' | 'flushall' | 'swapdb', 0, <small> | 'object', 'help'
    | 'object', 'encoding', <key> | 'command', 'docs', 'nope' | 'command', 'info', 'nope' | 'spublish', 'ch', 'm'
    | 'move', <key>, 1 | 'echo', <odd> | 'ping' | 'echo', <text> | 'echo', <number> + 0 | 'ECHO', <json> | 'pInG'
    | 'echo', <pack> | 'flushdb' | 'keys', 'never*'
wrong-call = 'nope' | 'get' | 'multi' | 'get', {} | 'get', nil | <odd> | <odd>, <odd> | | 'eval', 'return 1', 0
    | 'subscribe', 'x' | 'config', 'get', 'x' | 'set', 's' | 'object' | 'object', 'nope', 's' | 'incrby', 'n', 'x'
    | 'expire', 's', 'x' | 'blpop', 'l', -1 | 'zadd', 'z', 'x', 'y' | 'client', 'id' | 'watch', 'k' | 'script', 'flush'
    | 'hset', 'h', 'f' | 'xadd', 't', '*' | 'auth', 'x'
"""

# So deep a rule stands within others, at most, but for what ends soonest.
_DEPTH = 9
_REFERENCE = re.compile(r"<([a-z][a-z-]*)>")
_SEPARATOR = re.compile(r"\s\|(?=\s)")


class _Rule:
    """A rule: the ways to make its text. Each is a list of texts and of rules."""

    __slots__ = ("shortest", "ways")

    def __init__(self) -> None:
        self.ways: list[list[str | _Rule]] = []
        # Those that need the fewest rules within rules.
        self.shortest: list[list[str | _Rule]] = []


def _read(grammar: str) -> _Rule:
    """The rule `script` of a grammar. KeyError for a name without a rule."""
    lines = re.sub(r"\n +\|", " |", grammar).splitlines()
    sources = dict(line.split(" =", 1) for line in lines if line)
    rules = {name: _Rule() for name in sources}
    for name, source in sources.items():
        for way in _SEPARATOR.split(source):
            pieces = _REFERENCE.split(way.strip().replace("¶", "\n"))
            rules[name].ways.append([rules[piece] if place % 2 else piece for place, piece in enumerate(pieces) if piece])
    depths: dict[_Rule, float] = dict.fromkeys(rules.values(), float("inf"))

    def depth(way: list[str | _Rule]) -> float:
        return max((1 + depths[part] for part in way if isinstance(part, _Rule)), default=0)

    for _ in rules:
        for rule in rules.values():
            depths[rule] = min(map(depth, rule.ways))
    for rule in rules.values():
        rule.shortest = [way for way in rule.ways if depth(way) == depths[rule]]
    return rules["script"]


_SCRIPT = _read(_GRAMMAR)


def script(random: Callable[[], float]) -> str:
    """A script, or the body of a function whose arguments are KEYS and ARGV. `random` gives numbers from 0 to less than 1."""
    pieces: list[str] = []
    _draw(_SCRIPT, _DEPTH, random, pieces.append)
    return "".join(pieces)


def _draw(rule: _Rule, depth: int, random: Callable[[], float], add: Callable[[str], None]) -> None:
    ways = rule.ways if depth else rule.shortest
    for part in ways[int(random() * len(ways))]:
        if isinstance(part, str):
            add(part)
        else:
            _draw(part, depth and depth - 1, random, add)
