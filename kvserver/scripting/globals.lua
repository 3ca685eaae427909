-- The globals of a script: `kit.env`, empty and frozen, behind it `kit.globals`, and behind that an error.
-- The real globals never come to a script; run.lua empties them.
local kit = ...
local type, tonumber, error, pcall, next, select, setfenv, setmetatable, getmetatable, loadstring, load, collectgarbage = type,
  tonumber, error, pcall, next, select, setfenv, setmetatable, getmetatable, loadstring, load, collectgarbage
local byte, sub, concat, floor = string.byte, string.sub, table.concat, math.floor
local told, check, as_raised = kit.told, kit.check, kit.as_raised

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

local function is_text(v) return type(v) == "string" or type(v) == "number" end

local function loaded(env, f, e)
  if f then return setfenv(f, env) end
  return nil, e
end

-- loadstring and load for scripts in an environment. Neither takes bytecode, which could crash the process.
function kit.loaders(env)
  local function load_text(...)
    local text, name = ...
    if type(text) == "string" and byte(text, 1) == 27 then
      -- The compiler names the text as it does in other errors.
      local _, e = loadstring("=", name == nil and text or name)
      return nil, sub(e, 1, -2 - #"'='") .. " 'char(27)'"
    end
    if type(text) ~= "string" or not (name == nil or is_text(name)) then return told(pcall(loadstring, ...)) end
    return loaded(env, loadstring(text, name))
  end
  local function load_parts(...)
    local f, name = ...
    if type(f) ~= "function" or not (name == nil or is_text(name)) then return told(pcall(load, ...)) end
    local parts = {}
    while true do
      -- An error of the reader is a result, as one of the compiler is. A reader of ours would never be ended otherwise.
      local ok, part = pcall(f)
      check()
      if not ok then return nil, as_raised(part) end
      if part == nil or part == "" then break end
      if not is_text(part) then
        -- This is told at the line that called, where there is one.
        local _, e = pcall(error, "reader function must return a string", 3)
        return nil, e
      end
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
-- A number as C casts it to an int.
local function to_int(v)
  if v ~= v or v >= 2 ^ 63 or v < -2 ^ 63 then return 0 end
  v = (v < 0 and -floor(-v) or floor(v)) % 2 ^ 32
  return v < 2 ^ 31 and v or v - 2 ^ 32
end

-- What scripts have set of the collector, with what it begins with. It is not set for that.
local collector = {stop = 0, restart = 0, setpause = 200, setstepmul = 200}
globals.collectgarbage = function(...)
  local option, value = ...
  local before = collector[option]
  if not before or not (value == nil or tonumber(value)) then return told(pcall(collectgarbage, ...)) end
  if option == "setpause" or option == "setstepmul" then collector[option] = to_int(tonumber(value or 0)) end
  return before
end
globals.__redis__err__handler = function(e) return e end

-- The functions that match patterns call themselves in C once an item: too many items overrun the stack, as in Redis.
local strings = kit.copy(string)
for name, f in next, {find = string.find, match = string.match, gmatch = string.gmatch, gfind = string.gfind} do
  strings[name] = function(...)
    local _, pattern = ...
    if type(pattern) == "string" and #pattern > 10000 then error("pattern too complex", 2) end
    return told(pcall(f, ...))
  end
end
local gsub, getinfo = string.gsub, debug.getinfo
-- The frame that called the gsub which runs and which runs code of the script.
kit.matching = nil
local function matched(outer, ...)
  kit.matching = outer
  return ...
end
strings.gsub = function(...)
  local s, pattern, by, count = ...
  if type(pattern) == "string" and #pattern > 10000 then error("pattern too complex", 2) end
  -- What runs code of the script is called as it is: an error of that is told with the line where it was raised, which is gone
  -- behind a pcall, and C's stack is no deeper than in Redis. An error of gsub itself is told by `as_raised`.
  local runs_code = type(by) == "function" or type(by) == "table" and getmetatable(by) ~= nil
  if runs_code and is_text(s) and is_text(pattern) and (count == nil or tonumber(count)) then
    local outer = kit.matching
    kit.matching = getinfo(2, "Sl")
    return matched(outer, gsub(s, pattern, by, count))
  end
  return told(pcall(gsub, ...))
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
    local place = low and count or 1
    error("bad argument #" .. place .. " to 'random' (number expected, got " .. type((select(place, ...))) .. ")", 2)
  end
  low, high = to_int(low), to_int(high)
  if low > high then error("bad argument #" .. count .. " to 'random' (interval is empty)", 2) end
  return floor(r * (high - low + 1)) + low
end
maths.randomseed = function(n)
  kit.seed(tonumber(n) or error("bad argument #1 to 'randomseed' (number expected, got " .. (n == nil and "no value" or type(n)) .. ")", 2))
end
globals.math = kit.frozen(maths)

for name, library in next, kit.libraries do globals[name] = kit.frozen(library) end

kit.env = kit.environment(globals)
globals._G = kit.frozen_globals(globals)
globals.loadstring, globals.load = kit.loaders(kit.env)
setmetatable(globals, kit.nonexistent)
