-- How a function of the libraries ends with an error: with the texts of Lua's own C functions, at the line of the script that
-- called it. Gets `debug.getinfo`. Returns the functions below.
local getinfo = ...
local error, select, tonumber, tostring, type, floor = error, select, tonumber, tostring, type, math.floor
local library = getinfo(1, "S").source

-- The level of the function that called into the libraries, seen from the caller of this function. No function of the
-- libraries leaves itself by a tail call of another, so that the libraries' frames lie together.
local function level_of_caller()
  local level = 3
  local frame = getinfo(level, "S")
  -- There is none behind a function that a coroutine began with.
  while frame and frame.source == library do
    level = level + 1
    frame = getinfo(level, "S")
  end
  return level - 1
end

local function fail(text)
  error(text, level_of_caller())
end

-- Ends as luaL_argerror does: it knows a function by the name that the script called it by.
local function bad_argument(number, text)
  local level = level_of_caller()
  local called = getinfo(level - 1, "n")
  local name = called.name or "?"
  if called.namewhat == "method" then
    number = number - 1
    if number == 0 then error("calling '" .. name .. "' on bad self (" .. text .. ")", level) end
  end
  error("bad argument #" .. number .. " to '" .. name .. "' (" .. text .. ")", level)
end

local function wrong_type(number, expected, found)
  bad_argument(number, expected .. " expected, got " .. found)
end

-- The functions below take the number of an argument, then all arguments.

local function type_of(number, ...)
  return select("#", ...) < number and "no value" or type((select(number, ...)))
end

local function check_string(number, ...)
  local value = select("#", ...) >= number and select(number, ...) or nil
  if type(value) == "string" then return value end
  if type(value) ~= "number" then wrong_type(number, "string", type_of(number, ...)) end
  return tostring(value)
end

local function check_number(number, ...)
  local value = select("#", ...) >= number and tonumber((select(number, ...)))
  if not value then wrong_type(number, "number", type_of(number, ...)) end
  return value
end

-- A double as C casts it to an int: the lower 32 bits of what is left without the fraction.
local function to_int(value)
  if value ~= value or value >= 9223372036854775808 or value < -9223372036854775808 then return 0 end
  value = (value < 0 and -floor(-value) or floor(value)) % 4294967296
  return value >= 2147483648 and value - 4294967296 or value
end

local function check_int(number, ...)
  return to_int(check_number(number, ...))
end

local function optional_int(number, default, ...)
  if select("#", ...) < number or select(number, ...) == nil then return default end
  return to_int(check_number(number, ...))
end

return fail, bad_argument, wrong_type, check_string, check_number, check_int, optional_int
