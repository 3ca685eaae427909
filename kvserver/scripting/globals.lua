-- The globals of a script: `kit.env`, empty and frozen, behind it `kit.globals`, and behind that an error.
-- The real globals never come to a script; run.lua empties them.
local kit = ...
local type, tonumber, error, next, select, setfenv, setmetatable, getmetatable, loadstring, collectgarbage = type, tonumber,
  error, next, select, setfenv, setmetatable, getmetatable, loadstring, collectgarbage
local byte, concat, floor = string.byte, table.concat, math.floor

local globals = {}
kit.globals = globals

-- The metatable of whatever serves as globals: a name that isn't there is an error.
kit.nonexistent = {__index = function(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    error("Second argument to luaProtectedTableError must be a string or number", 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end}

-- An environment over a table of globals. The second result is its metatable, by which the globals can be exchanged.
function kit.environment(of)
  local mt = {__index = of, __newindex = kit.refuse_write}
  return setmetatable({}, mt), mt
end

local function loaded(env, f, e)
  if f then return setfenv(f, env) end
  return nil, e
end

-- loadstring and load for scripts in an environment. Neither takes bytecode, which could crash the process.
function kit.loaders(env)
  local function load_text(text, name)
    if type(text) == "string" and byte(text, 1) == 27 then
      return nil, "[string \"\27\"]:1: unexpected symbol near 'char(27)'"
    end
    return loaded(env, loadstring(text, name))
  end
  local function load_parts(f, name)
    if type(f) ~= "function" then
      error("bad argument #1 to 'load' (function expected, got " .. (f == nil and "no value" or type(f)) .. ")", 2)
    end
    local parts = {}
    while true do
      local part = f()
      if part == nil or part == "" then break end
      if type(part) ~= "string" then return nil, "reader function must return a string" end
      parts[#parts + 1] = part
    end
    return load_text(concat(parts), name or "=(load)")
  end
  return load_text, load_parts
end

for _, name in next, {"tostring", "assert", "tonumber", "select", "unpack", "ipairs", "error", "rawequal", "gcinfo"} do
  globals[name] = _G[name]
end
for name, f in next, kit.builtins do globals[name] = f end
globals._VERSION = _VERSION
globals.pcall, globals.xpcall = kit.pcall, kit.xpcall
globals.collectgarbage = function(what, n)
  if what == nil or what == "collect" or what == "step" or what == "count" then return collectgarbage(what or "collect", n) end
  return 0
end
globals.__redis__err__handler = function(e) return e end

-- The functions that match patterns call themselves in C once an item: too many items overrun the stack, as in Redis.
local strings = kit.copy(string)
for name, f in next, {find = string.find, match = string.match, gmatch = string.gmatch, gsub = string.gsub, gfind = string.gfind} do
  strings[name] = function(s, pattern, ...)
    if type(pattern) == "string" and #pattern > 10000 then error("pattern too complex", 2) end
    return f(s, pattern, ...)
  end
end
kit.strings = strings
local string_mt = getmetatable("")
string_mt.__index, string_mt.__metatable = strings, false
globals.string = kit.frozen(strings)
kit.string_metatable = kit.frozen({__index = globals.string})
globals.table = kit.frozen(kit.copy(table))
globals.coroutine = kit.frozen(kit.coroutine)

-- Redis has its own generator, so that the numbers are the same on every machine.
local maths = kit.copy(math)
maths.random = function(...)
  local r, count = kit.random(), select("#", ...)
  if count == 0 then return r end
  local low, high = 1, ...
  if count == 2 then low, high = ... elseif count > 2 then error("wrong number of arguments", 2) end
  low, high = tonumber(low), tonumber(high)
  if not (low and high) then
    error("bad argument #" .. (low and count or 1) .. " to 'random' (number expected, got " .. type((...)) .. ")", 2)
  end
  low, high = floor(low), floor(high)
  if low > high then error("bad argument #" .. count .. " to 'random' (interval is empty)", 2) end
  return floor(r * (high - low + 1)) + low
end
maths.randomseed = function(n)
  kit.seed(tonumber(n) or error("bad argument #1 to 'randomseed' (number expected, got no value)", 2))
end
globals.math = kit.frozen(maths)

for name, library in next, kit.libraries do globals[name] = kit.frozen(library) end

kit.env = kit.environment(globals)
globals._G = kit.frozen_globals(globals)
globals.loadstring, globals.load = kit.loaders(kit.env)
setmetatable(globals, kit.nonexistent)
