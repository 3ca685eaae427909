-- How a script runs: by xpcall in Lua, so that nothing leaves Lua as an exception. What it gives is a value for Python to send
-- (a string, a number, nil), or (RAW, the text of a reply), or (FAILED, the text of the error[, source, line[, uncounted]]).
local kit = ...
local type, tostring, next, select, unpack, pcall, xpcall, setfenv, rawget, loadstring = type, tostring, next, select, unpack,
  pcall, xpcall, setfenv, rawget, loadstring
local globals, handler, encoded, start, check, before_nul = kit.globals, kit.handler, kit.encoded, kit.start, kit.check,
  kit.before_nul
local RAW, FAILED = 1, 2

-- Nothing here is protected: a script's own __index or __tostring must not run.
local function failed(e)
  start()
  if type(e) ~= "table" then return FAILED, before_nul("ERR " .. tostring(e)) end
  local text = rawget(e, "err")
  if type(text) ~= "string" then text = type(text) == "number" and tostring(text) or "ERR " .. type(text) end
  return FAILED, before_nul(text), rawget(e, "source"), rawget(e, "line"), rawget(e, "ignore_error_stats_update") and true
end

-- The function of a library that is called, with its keys and arguments.
local called = {}

local function finish(ok, v)
  -- They may be large, and the next script comes when it comes.
  globals.KEYS, globals.ARGV, called.keys, called.argv = nil, nil, nil, nil
  if not ok then return failed(v) end
  local t = type(v)
  if t == "string" or t == "number" or t == "nil" then return v end
  local done, text = pcall(encoded, v)
  if not done then return failed(text) end
  done, v = pcall(check)
  if not done then return failed(v) end
  return RAW, text
end

-- The first `keys` of the words in a table, and the rest in another.
local function divided(keys, ...)
  if keys == 1 then return {(...)}, {select(2, ...)} end
  if keys == 0 then return {}, {...} end
  local all, count = {...}, select("#", ...)
  return {unpack(all, 1, keys)}, {unpack(all, keys + 1, count)}
end

-- Runs f with the first `keys` of the words as KEYS and the rest as ARGV.
local function run(f, protocol, keys, ...)
  start()
  kit.protocol, kit.client_protocol = 2, protocol
  globals.KEYS, globals.ARGV = divided(keys, ...)
  return finish(xpcall(f, handler))
end

-- The same with tables, for many words.
local function run_tables(f, protocol, keys, argv)
  start()
  kit.protocol, kit.client_protocol = 2, protocol
  globals.KEYS, globals.ARGV = keys, argv
  return finish(xpcall(f, handler))
end

-- Calls f with the tables, as functions of libraries are called. Only one runs at a time, so that no closure is made for each.
-- This is compiled here, as it stands, since it needs its tail call: behind that it has no line for `error(text, 2)` to tell.
local call = loadstring("local called = ... return function() return called.f(called.keys, called.argv) end", kit.name)(called)
local function call_tables(f, protocol, keys, argv)
  start()
  kit.protocol, kit.client_protocol = 2, protocol
  called.f, called.keys, called.argv = f, keys, argv
  return finish(xpcall(call, handler))
end

-- The same with the words themselves, where they are few.
local function call_words(f, protocol, keys, ...)
  return call_tables(f, protocol, divided(keys, ...))
end

local function prepare(f) return setfenv(f, kit.env) end

-- What loadstring and getfenv(0) begin with holds nothing from here on.
local real_globals = _G
for name in next, real_globals do real_globals[name] = nil end
return run, run_tables, call_words, call_tables, prepare
