-- Scripts that must end, by time, by SCRIPT KILL or by memory: what catches errors raises theirs again, so none goes on.
--
-- Every file of this folder is a chunk that is given the kit: a table of Python's callables, to which each adds what those
-- behind it use.
local kit = ...
local type, error, pcall, xpcall, tostring, select = type, error, pcall, xpcall, tostring, select
local getinfo, sethook = debug.getinfo, debug.sethook
local co_create, co_resume = coroutine.create, coroutine.resume
local tick, told, as_raised = kit.tick, kit.told, kit.as_raised
local name, is_ours, MAX_LEVELS = kit.name, kit.is_ours, kit.MAX_LEVELS

-- So many instructions lie between two looks at the clock.
local TICK = 20000

-- The text of the error by which the script that runs ends, or nil.
local dead

-- In a dead script, the hook is called at each line, too. Frames of ours are left alone: they may be about to hand the error on.
-- Whatever they do, the clock is looked at.
local hook
hook = function(event)
  local text
  if event == "count" then text = tick() end
  text = dead or text
  if text then
    if not dead then dead = text sethook(hook, "l", TICK) end
    if getinfo(2, "S").source ~= name then error({err = text}, 0) end
  end
end

-- Lets scripts run again where one was dead. The hook goes first: it would ask anew at the line that follows.
function kit.start()
  if dead ~= nil then
    sethook(hook, "", TICK)
    dead = nil
  end
end
dead = false
kit.start()

-- Raises what ends the script that runs, if it is dead.
function kit.check()
  if dead then error({err = dead}, 0) end
end

function kit.die(text)
  dead = text
  error({err = text}, 0)
end

-- As in Redis, pcall gives the text of an error table, not the table. Where it has none, what stands for it comes, too.
local function caught(ok, ...)
  if ok then return ok, ... end
  if dead then error({err = dead}, 0) end
  local e = ...
  if type(e) ~= "table" then return false, as_raised(e) end
  local text = e.err
  if type(text) ~= "string" and type(text) ~= "number" then return false, e, text end
  return false, text
end

local function passed(ok, ...)
  if not ok and dead then error({err = dead}, 0) end
  return ok, ...
end

kit.pcall = function(...)
  -- Redis calls what it has put there for the result.
  if select("#", ...) == 0 then return false, "attempt to call a boolean value" end
  return caught(pcall(...))
end

-- Hooks are off in a handler that a hook's error has led to, so a dead script's handler isn't called.
kit.xpcall = function(...)
  if select("#", ...) < 2 then error("bad argument #2 to 'xpcall' (value expected)", 2) end
  local f, handler = ...
  return passed(xpcall(f, function(e) if dead then return e end return handler(as_raised(e)) end))
end

-- A hook is set for one coroutine, and none inherits it.
local co = kit.copy(coroutine)
local function hooked(c)
  sethook(c, hook, "", TICK)
  return c
end
co.create = function(...) return hooked(told(pcall(co_create, ...))) end
local function resumed(c, ok, ...)
  if ok then return ok, ... end
  if dead then error({err = dead}, 0) end
  return ok, as_raised((...), c)
end
co.resume = function(...)
  local c = ...
  if type(c) ~= "thread" then return told(pcall(co_resume, ...)) end
  return resumed(c, co_resume(...))
end
local function step(c, ok, ...)
  if not ok then
    if dead then error({err = dead}, 0) end
    error(as_raised((...), c), type((...)) == "string" and 3 or 0)
  end
  return ...
end
co.wrap = function(...)
  local c = hooked(told(pcall(co_create, ...)))
  return function(...) return step(c, co_resume(c, ...)) end
end
kit.coroutine = co

-- Redis's error handler: the error becomes a table that says where it was raised. Frames of ours are stepped over.
kit.handler = function(e)
  local level = 2
  local i = getinfo(level, "Sl")
  if i and i.what == "C" then level = 3 i = getinfo(level, "Sl") end
  while i and (is_ours[i.source] or i.what == "tail") and level < MAX_LEVELS do level = level + 1 i = getinfo(level, "Sl") end
  if i and i.what == "C" and i.source == "=[C]" then
    local up = getinfo(level + 1, "Sl")
    if up and level > 3 then i = up end
  end
  if type(e) ~= "table" then e = {err = "ERR " .. tostring(as_raised(e))} end
  if i then e.source = i.source e.line = i.currentline end
  return e
end
