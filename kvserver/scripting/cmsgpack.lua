-- cmsgpack, the library of Redis's scripts that turns values into MessagePack and back: the forms, the order of members and the
-- texts are those of lua-cmsgpack 0.4.0 in redis-server 7.0. Gets the functions of `failures` and `bytes`, returns the library.
local fail, bad_argument, _, check_string, _, check_int, optional_int, integer_bytes, double_bytes, float_bytes, bytes_double,
  bytes_float = ...
local type, next, select, unpack, error = type, next, select, unpack, error
local floor, huge, frexp, ldexp = math.floor, math.huge, math.frexp, math.ldexp
local byte, char, sub, format = string.byte, string.char, string.sub, string.format
local concat = table.concat

local MAX_NESTING = 16
local INT_MAX = 2147483647
local NO_INPUT = "Missing bytes in input."
-- C's stack of values, on which the library in C keeps what it is in the midst of. The limits of nesting follow from it.
local MAX_STACK = 8000
local FULL_STACK = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"

-- True if a float keeps a double whole.
local function is_float(d)
  if d < 0 then d = -d end
  if d == huge then return true end
  local mantissa, exponent = frexp(d)
  if exponent > 128 then return false end
  local bits = exponent < -125 and 149 + exponent or 24
  if bits <= 0 then return false end
  local scaled = ldexp(mantissa, bits)
  return floor(scaled) == scaled
end

local function packed_number(value)
  if floor(value) ~= value or value < -9223372036854775808 or value >= 9223372036854775808 then
    if value == value and is_float(value) then return "\202" .. float_bytes(value) end
    return "\203" .. double_bytes(value)
  end
  if value >= 0 then
    return value < 128 and char(value) or value < 256 and char(204, value) or value < 65536 and "\205" .. integer_bytes(value, 2)
      or value < 4294967296 and "\206" .. integer_bytes(value, 4) or "\207" .. integer_bytes(value, 8)
  end
  return value >= -32 and char(256 + value) or value >= -128 and char(208, 256 + value)
    or value >= -32768 and "\209" .. integer_bytes(value, 2) or value >= -2147483648 and "\210" .. integer_bytes(value, 4)
    or "\211" .. integer_bytes(value, 8)
end

local function string_head(length)
  return length < 32 and char(160 + length) or length < 256 and char(217, length)
    or length < 65536 and "\218" .. integer_bytes(length, 2) or "\219" .. integer_bytes(length, 4)
end

local function array_head(count)
  return count < 16 and char(144 + count) or count < 65536 and "\220" .. integer_bytes(count, 2)
    or "\221" .. integer_bytes(count, 4)
end

local function map_head(count)
  return count < 16 and char(128 + count) or count < 65536 and "\222" .. integer_bytes(count, 2)
    or "\223" .. integer_bytes(count, 4)
end

-- The number of members, and true if their keys are the positions from 1 to that number.
local function count_members(value)
  local last, count, is_array = 0, 0, true
  for key in next, value do
    if key == count + 1 and last == count then
      last = key
    elseif is_array and type(key) == "number" and key > 0 and floor(key) == key and key <= INT_MAX then
      if key > last then last = key end
    else
      is_array = false
    end
    count = count + 1
  end
  return count, is_array and last == count
end

-- Writes the pieces of a value into a table behind position n, and returns the new n.
local function pack(value, level, out, n)
  local kind = type(value)
  n = n + 1
  if kind == "string" then
    out[n] = string_head(#value)
    n = n + 1
    out[n] = value
  elseif kind == "number" then
    out[n] = packed_number(value)
  elseif kind == "table" and level < MAX_NESTING then
    local count, is_array = count_members(value)
    if is_array then
      out[n] = array_head(count)
      for i = 1, count do n = pack(value[i], level + 1, out, n) end
    else
      out[n] = map_head(count)
      for key, item in next, value do
        n = pack(key, level + 1, out, n)
        n = pack(item, level + 1, out, n)
      end
    end
  elseif kind == "boolean" then
    out[n] = value and "\195" or "\194"
  else
    out[n] = "\192"
  end
  return n
end

-- Each reader gets the text, the position behind the first byte, a length, and the number of values that C would have on its
-- stack, and returns a value and the position behind it. `read` is the one that asks the first byte.
local read

local function read_string(text, pos, length)
  local behind = pos + length
  if behind - 1 > #text then fail(NO_INPUT) end
  return sub(text, pos, behind - 1), behind
end

local function read_array(text, pos, length, stacked)
  local array = {}
  if stacked + 2 > MAX_STACK then fail("stack overflow (in function mp_decode_to_lua_array)") end
  for i = 1, length do array[i], pos = read(text, pos, stacked + 2) end
  return array, pos
end

local function read_map(text, pos, length, stacked)
  local map = {}
  for _ = 1, length do
    local key, value
    key, pos = read(text, pos, stacked + 1)
    value, pos = read(text, pos, stacked + 2)
    -- Lua's own words for these, without a place in them.
    if key == nil then error("table index is nil", 0) end
    if key ~= key then error("table index is NaN", 0) end
    map[key] = value
  end
  return map, pos
end

-- What the first byte says of the bytes behind it: how many there are, and what becomes of the number in them.
local SIZES = {[202] = 4, [203] = 8, [204] = 1, [205] = 2, [206] = 4, [207] = 8, [208] = 1, [209] = 2, [210] = 4, [211] = 8,
  [217] = 1, [218] = 2, [219] = 4, [220] = 2, [221] = 4, [222] = 2, [223] = 4}
local LIMITS = {[208] = 256, [209] = 65536, [210] = 4294967296}
local READERS = {[217] = read_string, [218] = read_string, [219] = read_string, [220] = read_array, [221] = read_array,
  [222] = read_map, [223] = read_map}

local function read_long(text, pos, first, stacked)
  local size = SIZES[first]
  if not size then fail("Bad data format in input.") end
  local a, b, c, d, e, f, g, h = byte(text, pos, pos + size - 1)
  local behind = pos + size
  if behind - 1 > #text then fail(NO_INPUT) end
  if first == 202 then return bytes_float(a, b, c, d), behind end
  if first == 203 then return bytes_double(a, b, c, d, e, f, g, h), behind end
  local number = size == 1 and a or size == 2 and a * 256 + b or ((a * 256 + b) * 256 + c) * 256 + d
  if size == 8 then
    -- An unsigned number becomes a signed one, too: the library in C hands both on as a lua_Integer.
    if number >= 2147483648 then number = number - 4294967296 end
    number = number * 4294967296 + (((e * 256 + f) * 256 + g) * 256 + h)
  end
  local reader, limit = READERS[first], LIMITS[first]
  if reader then
    local value
    value, behind = reader(text, behind, number, stacked)
    return value, behind
  end
  if limit and number >= limit / 2 then number = number - limit end
  return number, behind
end

function read(text, pos, stacked)
  if stacked >= MAX_STACK then fail(FULL_STACK) end
  local first = byte(text, pos)
  if not first then fail(NO_INPUT) end
  if first < 128 then return first, pos + 1 end
  if first >= 224 then return first - 256, pos + 1 end
  local value, behind
  if first < 144 then value, behind = read_map(text, pos + 1, first - 128, stacked)
  elseif first < 160 then value, behind = read_array(text, pos + 1, first - 144, stacked)
  elseif first < 192 then
    behind = pos + first - 159
    if behind - 1 > #text then fail(NO_INPUT) end
    value = sub(text, pos + 1, behind - 1)
  elseif first == 192 then return nil, pos + 1
  elseif first == 194 then return false, pos + 1
  elseif first == 195 then return true, pos + 1
  else value, behind = read_long(text, pos + 1, first, stacked) end
  return value, behind
end

-- Up to `limit` values from an offset on, behind the offset where to go on, which is -1 at the end; both 0: all values alone.
local function read_all(text, limit, offset)
  if offset < 0 or limit < 0 then
    fail(format("Invalid request to unpack with offset of %d and limit of %d.", offset, #text))
  elseif offset > #text then
    fail(format("Start offset %d greater than input length %d.", offset, #text))
  end
  local all = limit == 0 and offset == 0
  local results, count, pos, last = {}, all and 0 or 1, offset + 1, all and INT_MAX or limit + 1
  while pos <= #text and count < last do
    -- The arguments of `unpack`, by which the results are returned, count as well.
    results[count + 1], pos = read(text, pos, count + 3)
    count = count + 1
  end
  if not all then results[1] = pos > #text and -1 or pos - 1 end
  return results, count
end

local library = {_NAME = "cmsgpack", _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo", _DESCRIPTION = "MessagePack C implementation for Lua"}

function library.pack(...)
  local count = select("#", ...)
  if count == 0 then bad_argument(0, "MessagePack pack needs input.") end
  if 2 * count > MAX_STACK then bad_argument(0, "Too many arguments for MessagePack pack.") end
  local out, n = {}, 0
  if count == 1 then
    n = pack((...), 0, out, 0)
  else
    local values = {...}
    for i = 1, count do n = pack(values[i], 0, out, n) end
  end
  return concat(out, "", 1, n)
end

function library.unpack(...)
  local results, count = read_all(check_string(1, ...), 0, 0)
  return unpack(results, 1, count)
end

function library.unpack_one(...)
  local offset = optional_int(2, 0, ...)
  local results, count = read_all(check_string(1, ...), 1, offset)
  return unpack(results, 1, count)
end

function library.unpack_limit(...)
  local limit, offset = check_int(2, ...), optional_int(3, 0, ...)
  local results, count = read_all(check_string(1, ...), limit, offset)
  return unpack(results, 1, count)
end

return library
