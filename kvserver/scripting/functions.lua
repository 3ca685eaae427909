-- Functions of libraries: their globals, and the few that there are while a library is loaded. Adds kit.load_library.
local kit = ...
local type, next, pcall, setfenv, setmetatable, tostring, select = type, next, pcall, setfenv, setmetatable, tostring, select
local error, lower, concat = error, string.lower, table.concat

local FLAGS = {["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
  ["allow-cross-slot-keys"] = true}

-- The globals of functions are those of scripts without KEYS and ARGV, which a function gets as arguments.
local globals = kit.copy(kit.globals)
globals.__redis__err__handler = nil
local redis = kit.copy(kit.redis)
redis.breakpoint, redis.debug, redis.replicate_commands = nil, nil, nil
globals.redis = kit.frozen(redis)

local function fail(text) error({err = "ERR " .. text}, 0) end

local function is_text(value) return type(value) == "string" or type(value) == "number" end

-- Python's side of a registration: takes the name, the function, the description or false, and the flags in one text. It
-- returns the text of an error, or nil. None while no library is loaded.
local register

local function named_arguments(arguments)
  if type(arguments) ~= "table" then
    fail("calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).")
  end
  local name, callback, description, flags = nil, nil, nil, {}
  for key, value in next, arguments do
    if not is_text(key) then fail("named argument key given to redis.register_function is not a string") end
    key = lower(key)
    if key == "function_name" then
      if not is_text(value) then fail("function_name argument given to redis.register_function must be a string") end
      name = tostring(value)
    elseif key == "description" then
      if not is_text(value) then fail("description argument given to redis.register_function must be a string") end
      description = tostring(value)
    elseif key == "callback" then
      if type(value) ~= "function" then fail("callback argument given to redis.register_function must be a function") end
      callback = value
    elseif key == "flags" then
      if type(value) ~= "table" then
        fail("flags argument to redis.register_function must be a table representing function flags")
      end
      local i = 1
      while value[i] ~= nil do
        local flag = is_text(value[i]) and lower(value[i])
        if not FLAGS[flag] then fail("unknown flag given") end
        flags[i] = flag
        i = i + 1
      end
    else
      fail("unknown argument given to redis.register_function")
    end
  end
  if not name then fail("redis.register_function must get a function name argument") end
  if not callback then fail("redis.register_function must get a callback argument") end
  return name, callback, description, flags
end

local function register_function(...)
  if not register then fail("redis.register_function can only be called on FUNCTION LOAD command") end
  local count, name, callback = select("#", ...), ...
  local description, flags = nil, {}
  if count < 1 or count > 2 then fail("wrong number of arguments to redis.register_function") end
  if count == 1 then
    name, callback, description, flags = named_arguments(name)
  else
    if not is_text(name) then fail("first argument to redis.register_function must be a string") end
    if type(callback) ~= "function" then fail("second argument to redis.register_function must be a function") end
    name = tostring(name)
  end
  local problem = register(name, callback, description or false, concat(flags, ","))
  if problem then fail(problem) end
end

local loading = setmetatable({
  redis = kit.frozen(setmetatable({
    register_function = register_function, log = redis.log,
    REDIS_VERSION = redis.REDIS_VERSION, REDIS_VERSION_NUM = redis.REDIS_VERSION_NUM,
    LOG_DEBUG = redis.LOG_DEBUG, LOG_VERBOSE = redis.LOG_VERBOSE, LOG_NOTICE = redis.LOG_NOTICE, LOG_WARNING = redis.LOG_WARNING,
  }, kit.nonexistent)),
}, kit.nonexistent)

local env, env_metatable = kit.environment(globals)
globals._G = kit.frozen_globals(globals)
globals.loadstring, globals.load = kit.loaders(env)
setmetatable(globals, kit.nonexistent)

-- Runs the text of a library, compiled, which registers its functions by a callable. Returns the text of an error, or nil.
function kit.load_library(f, python_register)
  kit.start()
  register, env_metatable.__index = python_register, loading
  local ok, e = pcall(setfenv(f, env))
  register, env_metatable.__index = nil, globals
  if ok then return nil end
  if type(e) == "table" and is_text(e.err) then return tostring(e.err) end
  return "ERR " .. tostring(kit.as_raised(e))
end
