-- Tables that scripts can read and nobody can write: a userdata stands for each, so that nothing which takes a table
-- (rawset, table.insert) gets at it. The functions here know them, so that scripts can't tell them from tables.
local kit = ...
local type, error, next, rawget, rawset, setmetatable, getmetatable, newproxy = type, error, next, rawget, rawset, setmetatable,
  getmetatable, newproxy

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
  local t = type(...)
  if t == "userdata" and real_of[...] then return "table" end
  return t
end

builtins.next = function(t, k) return next(real_of[t] or t, k) end

builtins.pairs = function(t)
  local real = real_of[t]
  if real then return function(_, k) return next(real, k) end, t, nil end
  if type(t) ~= "table" then
    error("bad argument #1 to 'pairs' (table expected, got " .. (t == nil and "nil" or type(t)) .. ")", 2)
  end
  return next, t, nil
end

builtins.rawget = function(t, k) return rawget(real_of[t] or t, k) end

builtins.rawset = function(t, k, v)
  if real_of[t] then error(READONLY, 0) end
  return rawset(t, k, v)
end

builtins.setmetatable = function(t, mt)
  if real_of[t] then error(READONLY, 0) end
  return setmetatable(t, mt)
end

builtins.getmetatable = function(v)
  if type(v) == "string" then return kit.string_metatable end
  if real_of[v] then return of_globals[v] and metatable_of_globals or nil end
  return getmetatable(v)
end
