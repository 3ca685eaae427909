-- redis.*: what a script asks of the server.
local kit = ...
local type, tostring, tonumber, error, select = type, tostring, tonumber, error, select
local byte, find, sub, concat = string.byte, string.find, string.sub, table.concat
local trimmed, python_call, call_many, tick, die = kit.trimmed, kit.call, kit.call_many, kit.tick, kit.die

-- "text", or "-CODE text", as an error table.
local function error_table(text)
  text = kit.before_nul(text)
  local code = "ERR"
  if byte(text, 1) == 45 then
    local at = find(text, " ", 1, true)
    if at then code = sub(text, 2, at - 1) end
    text = sub(text, (at or 1) + 1)
  end
  return {err = code .. " " .. trimmed(sub(text, find(text, "[^\r\n]") or #text + 1))}
end
local function fail(text) error(error_table(text), 0) end
kit.fail = fail

-- Python's side gives a value alone, or a value, its kind and perhaps more (values.py has the kinds).
local makers = {}
makers[3] = function(text) error({err = text, ignore_error_stats_update = true}, 0) end
makers[4] = function(text) error({err = text}, 0) end
makers[5] = function() return {} end
makers[6] = function(value, _, name) return {[name] = value} end
makers[7] = function(text, _, format) return {verbatim_string = {format = format, string = text}} end
makers[8] = kit.die
local makers_of_pcall = kit.copy(makers)
makers_of_pcall[3] = function(text) return {err = text, ignore_error_stats_update = true} end
makers_of_pcall[4] = function(text) return {err = text} end

local function call_result(v, kind, ...)
  if kind == nil then return v end
  if kind == 1 then return {ok = v} end
  if kind == 2 then return {v, ...} end
  return makers[kind](v, kind, ...)
end
local function pcall_result(v, kind, ...)
  if kind == nil then return v end
  if kind == 1 then return {ok = v} end
  if kind == 2 then return {v, ...} end
  return makers_of_pcall[kind](v, kind, ...)
end

-- A hook counts the instructions of Lua, not what commands take, so that each 16th call looks at the clock, too.
local left = 16
local function look()
  left = 16
  local text = tick()
  if text then die(text) end
end

-- Many arguments go over in one table: lupa takes a time for them that grows with their square. No script can reach what takes
-- a table and its length, since it would believe whatever it is given.
local redis = {}
kit.redis = redis
redis.call = function(...)
  left = left - 1
  if left == 0 then look() end
  if select("#", ...) > 64 then return call_result(call_many({...}, select("#", ...))) end
  return call_result(python_call(...))
end
redis.pcall = function(...)
  left = left - 1
  if left == 0 then look() end
  if select("#", ...) > 64 then return pcall_result(call_many({...}, select("#", ...))) end
  return pcall_result(python_call(...))
end

redis.sha1hex = function(...)
  if select("#", ...) ~= 1 then fail("wrong number of arguments") end
  local s = ...
  return kit.sha1(type(s) == "number" and tostring(s) or type(s) == "string" and s or "")
end

redis.error_reply = function(...)
  local s = ...
  if select("#", ...) ~= 1 or type(s) ~= "string" then return error_table("wrong number or type of arguments") end
  if byte(s, 1) ~= 45 then s = "-" .. s end
  return error_table(s)
end

redis.status_reply = function(...)
  local s = ...
  if select("#", ...) ~= 1 or type(s) ~= "string" then return error_table("wrong number or type of arguments") end
  return {ok = s}
end

redis.log = function(...)
  local count, level = select("#", ...), ...
  if count < 2 then fail("redis.log() requires two arguments or more.") end
  level = tonumber(level)
  if not level then fail("First argument must be a number (log level).") end
  -- C cuts the fraction off. A NaN is no level, either.
  if not (level > -1 and level < 4) then fail("Invalid debug level.") end
  local parts = {}
  for i = 2, count do
    local v = select(i, ...)
    if type(v) == "string" or type(v) == "number" then parts[#parts + 1] = tostring(v) end
  end
  kit.log(level, concat(parts, " "))
end

-- The protocol that a script's calls are answered in, and by which its own reply is read.
kit.protocol = 2
redis.setresp = function(...)
  if select("#", ...) ~= 1 then fail("redis.setresp() requires one argument.") end
  local v = tonumber((...))
  if v ~= 2 and v ~= 3 then fail("RESP version must be 2 or 3.") end
  kit.protocol = v
  kit.setresp(v)
end

-- All that a script writes is kept, whatever this says.
redis.set_repl = function(...)
  if select("#", ...) ~= 1 then fail("redis.set_repl() requires two arguments.") end
  local v = tonumber((...)) or 0
  if v < 0 or v > 3 then fail("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.") end
end

redis.acl_check_cmd = function(...)
  local words, count = {...}, select("#", ...)
  if count == 0 then fail("Please specify at least one argument for this redis lib call") end
  for i = 1, count do
    local t = type(words[i])
    if t ~= "string" and t ~= "number" then fail("Lua redis lib command arguments must be strings or integers") end
  end
  local r = kit.may_call(words, count)
  if r == nil then fail("Invalid command passed to redis.acl_check_cmd()") end
  return r
end

redis.breakpoint = function() return false end
redis.debug = function() end
redis.replicate_commands = function() return true end
redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING = 0, 1, 2, 3
redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL = 0, 1, 2, 2, 3
redis.REDIS_VERSION, redis.REDIS_VERSION_NUM = kit.version, kit.version_number
kit.globals.redis = kit.frozen(redis)
