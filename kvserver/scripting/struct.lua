-- struct, the library of Redis's scripts that turns values into bytes by a format, and back, with the results and texts of
-- struct 0.2 in redis-server 7.0. Gets the functions of `failures` and `bytes`, returns the library.
local fail, bad_argument, wrong_type, check_string, check_number, _, _, integer_bytes, double_bytes, float_bytes, bytes_double,
  bytes_float = ...
local type, tonumber, tostring, select, unpack, floor = type, tonumber, tostring, select, unpack, math.floor
local byte, sub, find, match, format, rep, reverse = string.byte, string.sub, string.find, string.match, string.format,
  string.rep, string.reverse
local concat = table.concat

local MAX_INTEGER_SIZE = 32
local MAX_ALIGNMENT = 8
-- So many results fit on the stack of C beside the next offset and the arguments of Lua's `unpack`.
local MAX_RESULTS = 7996
local INT_MAX = 2147483647
-- The sizes are those of C on a machine of 64 bits.
local SIZES = {b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1}
local INTEGERS = {b = true, B = true, h = true, H = true, l = true, L = true, T = true, i = true, I = true}

local function check_format(...)
  return match(check_string(1, ...), "^%Z*")
end

-- The number at a position, or a default, and the position behind it.
local function number_at(fmt, pos, default)
  local digits = match(fmt, "^%d+", pos)
  if not digits then return default, pos end
  if tonumber(digits) > INT_MAX then fail("integral size overflow") end
  return tonumber(digits), pos + #digits
end

-- The option at a position, the size of what it stands for, where it has one, and the position behind it.
local function option_at(fmt, pos)
  local option = sub(fmt, pos, pos)
  local size = SIZES[option] or 0
  pos = pos + 1
  if option == "c" then
    size, pos = number_at(fmt, pos, 1)
  elseif option == "i" or option == "I" then
    size, pos = number_at(fmt, pos, 4)
    if size > MAX_INTEGER_SIZE then
      fail(format("integral size %d is larger than limit of %d", size, MAX_INTEGER_SIZE))
    end
  end
  return option, size, pos
end

-- The bits that two numbers below 64 have in common.
local function common(a, b)
  local result, unit = 0, 1
  while a > 0 and b > 0 do
    if a % 2 == 1 and b % 2 == 1 then result = result + unit end
    a, b, unit = floor(a / 2), floor(b / 2), unit * 2
  end
  return result
end

-- The number of bytes between what ends at an offset and what begins behind it. C's way, also for sizes that are no power of 2.
local function padding(offset, alignment, option, size)
  if size == 0 or option == "c" then return 0 end
  if size > alignment then size = alignment end
  if size == 1 then return 0 end
  return common(size - common(offset % MAX_INTEGER_SIZE, size - 1), size - 1)
end

-- An option that stands for no value changes how the values behind it are written. Returns the position behind it.
local function control(fmt, option, pos, state)
  if option == ">" then
    state.is_big = true
  elseif option == "<" then
    state.is_big = false
  elseif option == "!" then
    local alignment
    alignment, pos = number_at(fmt, pos, MAX_ALIGNMENT)
    local rest = alignment
    while rest > 1 and rest % 2 == 0 do rest = rest / 2 end
    if rest ~= 1 then fail(format("alignment %d is not a power of 2", alignment)) end
    state.alignment = alignment
  elseif option ~= " " then
    bad_argument(1, "invalid format option '" .. option .. "'")
  end
  return pos
end

-- A double as C casts it to an integer of 64 bits.
local function cast(value)
  if value ~= value or value < -9223372036854775808 then return -9223372036854775808 end
  if value < 0 then return -floor(-value) end
  return value < 18446744073709551616 and floor(value) or 0
end

-- An integer of some size, the most significant byte first.
local function cast_bytes(value, size)
  local bytes = integer_bytes(cast(value), 8)
  return size <= 8 and sub(bytes, 9 - size) or rep("\0", size - 8) .. bytes
end

-- The number in some bytes, the most significant first, of which C keeps the lower 64 bits. For signed numbers of more than
-- 8 bytes it takes the bit of the sign modulo 64.
local function bytes_integer(bytes, is_signed)
  local size, high, low = #bytes, 0, 0
  for i = size > 8 and size - 7 or 1, size - 4 do high = high * 256 + byte(bytes, i) end
  for i = size > 4 and size - 3 or 1, size do low = low * 256 + byte(bytes, i) end
  if is_signed and size > 0 then
    local bits = (8 * size - 1) % 64
    if bits < 32 then
      local unit = 2 ^ bits
      if high > 0 or low >= unit then return low % unit - unit end
    else
      local unit = 2 ^ (bits - 32)
      if high >= unit then return (high % unit - unit) * 4294967296 + low end
    end
  end
  return high * 4294967296 + low
end

local library = {}

function library.pack(...)
  local fmt = check_format(...)
  local state = {alignment = 1, is_big = false}
  -- A missing value is nil in C, too, which puts a nil behind the arguments before it looks at them.
  local values, argument = {...}, 2
  local function number()
    return tonumber(values[argument]) or wrong_type(argument, "number", type(values[argument]))
  end
  local out, total, pos = {}, 0, 1
  while pos <= #fmt do
    local option, size
    option, size, pos = option_at(fmt, pos)
    local gap = padding(total, state.alignment, option, size)
    if gap > 0 then out[#out + 1] = rep("\0", gap) end
    local bytes
    if INTEGERS[option] then bytes = cast_bytes(number(), size)
    elseif option == "x" then bytes = "\0"
    elseif option == "f" then bytes = float_bytes(number())
    elseif option == "d" then bytes = double_bytes(number())
    elseif option == "c" or option == "s" then
      local text = values[argument]
      if type(text) == "number" then text = tostring(text) end
      if type(text) ~= "string" then wrong_type(argument, "string", type(text)) end
      if size == 0 then size = #text end
      -- The number in the text is one too high in C.
      if #text < size then bad_argument(argument + 1, "string too short") end
      out[#out + 1] = sub(text, 1, size)
      argument = argument + 1
      if option == "s" then
        out[#out + 1] = "\0"
        size = size + 1
      end
    else
      pos = control(fmt, option, pos, state)
    end
    if bytes then
      out[#out + 1] = state.is_big and bytes or reverse(bytes)
      if option ~= "x" then argument = argument + 1 end
    end
    total = total + gap + size
  end
  return concat(out)
end

function library.unpack(...)
  local fmt, data, start = check_format(...), check_string(2, ...), 1
  if select("#", ...) > 2 and select(3, ...) ~= nil then start = floor(check_number(3, ...)) end
  if start == 0 then bad_argument(3, "offset must be 1 or greater") end
  local state = {alignment = 1, is_big = false}
  local results, n, pos, length = {}, 0, 1, #data
  -- C takes an offset below zero for one that is far behind the end. What is before the offset counts for the alignment.
  local offset = start > 0 and start - 1 or 18446744073709551616 + start - 1
  local function check_rest(size)
    if size > length or offset > length - size then bad_argument(2, "data string too short") end
  end
  while pos <= #fmt do
    local option, size
    option, size, pos = option_at(fmt, pos)
    offset = offset + padding(offset, state.alignment, option, size)
    check_rest(size)
    if n >= MAX_RESULTS then fail("stack overflow (too many results)") end
    local value
    if option == "c" then
      if size == 0 then
        size = n > 0 and tonumber(results[n])
        if not size then fail("format 'c0' needs a previous size") end
        size = cast(size) % 18446744073709551616
        n = n - 1
        check_rest(size)
      end
      value = sub(data, offset + 1, offset + size)
    elseif option == "s" then
      local stop = find(data, "%z", offset + 1)
      if not stop then fail("unfinished string in data") end
      value, size = sub(data, offset + 1, stop - 1), stop - offset
    elseif option == "d" or option == "f" or INTEGERS[option] then
      local bytes = sub(data, offset + 1, offset + size)
      if not state.is_big then bytes = reverse(bytes) end
      if option == "d" then value = bytes_double(byte(bytes, 1, 8))
      elseif option == "f" then value = bytes_float(byte(bytes, 1, 4))
      else value = bytes_integer(bytes, find(option, "%l") ~= nil) end
    elseif option ~= "x" then
      pos = control(fmt, option, pos, state)
    end
    if value then
      n = n + 1
      results[n] = value
    end
    offset = offset + size
  end
  n = n + 1
  results[n] = offset + 1
  return unpack(results, 1, n)
end

function library.size(...)
  local fmt = check_format(...)
  local state = {alignment = 1, is_big = false}
  local total, pos = 0, 1
  while pos <= #fmt do
    local option, size
    option, size, pos = option_at(fmt, pos)
    total = total + padding(total, state.alignment, option, size)
    if option == "s" then bad_argument(1, "option 's' has no fixed size") end
    if option == "c" and size == 0 then bad_argument(1, "option 'c0' has no fixed size") end
    -- Letters and digits that are no options are passed over here, and here alone.
    if not find(option, "%w") then pos = control(fmt, option, pos, state) end
    total = total + size
  end
  return total
end

return library
