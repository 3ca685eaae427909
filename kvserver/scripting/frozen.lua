-- Tables that scripts can read and nobody can write: a userdata stands for each, so that nothing which takes a table
-- (rawset, table.insert) gets at it. The functions here know them, so that scripts can't tell them from tables.
local kit = ...
local type, error, pcall, next, pairs, select, rawget, rawset, setmetatable, getmetatable, newproxy = type, error, pcall, next, pairs,
  select, rawget, rawset, setmetatable, getmetatable, newproxy
local told = kit.told

local READONLY = "Attempt to modify a readonly table"
local real_of = {}

function kit.refuse_write() error(READONLY, 2) end

function kit.frozen(real)
  local proxy = newproxy(true)
  local mt = getmetatable(proxy)
  mt.__index, mt.__newindex, mt.__metatable = real, kit.refuse_write, false
  real_of[proxy] = real
  return proxy
end

-- The frozen tables that stand for globals have a metatable, as they have in Redis.
local of_globals = {}
function kit.frozen_globals(real)
  local proxy = kit.frozen(real)
  of_globals[proxy] = true
  return proxy
end
local metatable_of_globals = kit.frozen({})
-- The strings' metatable as scripts see it; globals.lua sets it.
kit.string_metatable = nil

local builtins = {}
kit.builtins = builtins

builtins.type = function(...)
  local t = type((...))
  if t == "userdata" and real_of[...] then return "table" end
  if t == "nil" and select("#", ...) == 0 then return told(pcall(type)) end
  return t
end

builtins.next = function(...)
  local t, k = ...
  if type(t) == "table" then return next(t, k) end
  local real = real_of[t]
  if real then return next(real, k) end
  return told(pcall(next, ...))
end

builtins.pairs = function(...)
  local t = ...
  local real = real_of[t]
  if real then return function(_, k) return next(real, k) end, t, nil end
  if type(t) ~= "table" then return told(pcall(pairs, ...)) end
  return next, t, nil
end

builtins.rawget = function(...)
  local t, k = ...
  local real = real_of[t]
  if real then return rawget(real, k) end
  return told(pcall(rawget, ...))
end

builtins.rawset = function(...)
  if real_of[...] then error(READONLY, 0) end
  return told(pcall(rawset, ...))
end

builtins.setmetatable = function(...)
  if real_of[...] then error(READONLY, 0) end
  return told(pcall(setmetatable, ...))
end

builtins.getmetatable = function(...)
  local v = ...
  if type(v) == "string" then return kit.string_metatable end
  if real_of[v] then return of_globals[v] and metatable_of_globals or nil end
  return told(pcall(getmetatable, ...))
end
