-- bit, the library of Redis's scripts for integers of 32 bits, with the results and texts of Lua BitOp 1.0.2. Gets the functions
-- of `failures` and `bytes`, returns the library.
local _, _, _, _, check_number, _, _, _, double_bytes = ...
local select, type, floor, byte, sub, format = select, type, math.floor, string.byte, string.sub, string.format

-- The numbers a AND b for a and b below 16, at 16 * a + b.
local AND = {}
for a = 0, 15 do
  for b = 0, 15 do
    local both, x, y, unit = 0, a, b, 1
    while unit < 16 do
      if x % 2 == 1 and y % 2 == 1 then both = both + unit end
      x, y, unit = floor(x / 2), floor(y / 2), unit * 2
    end
    AND[16 * a + b] = both
  end
end

-- The lower 32 bits of a number, which is rounded to the nearest integer, of two the even one, as 0 <= n < 2^32. From 2^51 on
-- they are what BitOp makes of such numbers: those of the double that comes out when 2^52 + 2^51 is added.
local function lower_bits(value)
  if value ~= value or value >= 2251799813685248 or value <= -2251799813685248 then
    local a, b, c, d = byte(double_bytes(value + 6755399441055744), 5, 8)
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  local whole = floor(value)
  local rest = value - whole
  if rest > 0.5 or rest == 0.5 and whole % 2 == 1 then whole = whole + 1 end
  return whole % 4294967296
end

local function argument(number, ...)
  local value = select(number, ...)
  if type(value) ~= "number" then value = check_number(number, ...) end
  -- The sum of -0 and 0 is 0.
  if value >= 0 and value < 4294967296 and value % 1 == 0 then return value + 0 end
  return lower_bits(value)
end

local function signed(n)
  n = n % 4294967296
  return n >= 2147483648 and n - 4294967296 or n
end

local function both(a, b)
  local result, unit = 0, 1
  while a > 0 and b > 0 do
    local x, y = a % 16, b % 16
    result = result + AND[16 * x + y] * unit
    a, b, unit = (a - x) / 16, (b - y) / 16, unit * 16
  end
  return result
end

local function either(a, b) return a + b - both(a, b) end
local function one(a, b) return a + b - 2 * both(a, b) end

-- As in BitOp, the arguments are looked at from the last to the second.
local function folding(combine)
  return function(...)
    local result = argument(1, ...)
    for i = select("#", ...), 2, -1 do result = combine(result, argument(i, ...)) end
    return result >= 2147483648 and result - 4294967296 or result
  end
end

-- A function of a number and of another, of which the lower five bits count.
local function shifting(shift)
  return function(...)
    local value = argument(1, ...)
    local result = shift(value, argument(2, ...) % 32) % 4294967296
    return result >= 2147483648 and result - 4294967296 or result
  end
end

local library = {band = folding(both), bor = folding(either), bxor = folding(one),
  lshift = shifting(function(value, n) return value * 2 ^ n end),
  rshift = shifting(function(value, n) return floor(value / 2 ^ n) end),
  arshift = shifting(function(value, n) return floor(signed(value) / 2 ^ n) end),
  rol = shifting(function(value, n) return value * 2 ^ n % 4294967296 + floor(value / 2 ^ (32 - n)) end),
  ror = shifting(function(value, n) return floor(value / 2 ^ n) + value % 2 ^ n * 2 ^ (32 - n) end)}

function library.tobit(...)
  local value = argument(1, ...)
  return value >= 2147483648 and value - 4294967296 or value
end

function library.bnot(...)
  local value = 4294967295 - argument(1, ...)
  return value >= 2147483648 and value - 4294967296 or value
end

function library.bswap(...)
  local value = argument(1, ...)
  value = value % 256 * 16777216 + floor(value / 256) % 256 * 65536 + floor(value / 65536) % 256 * 256 + floor(value / 16777216)
  return value >= 2147483648 and value - 4294967296 or value
end

function library.tohex(...)
  local value = argument(1, ...)
  local digits, count = "%08x", 8
  if select("#", ...) > 1 then
    count = argument(2, ...)
    if count >= 2147483648 then count = count - 4294967296 end
  end
  if count < 0 then count, digits = -count, "%08X" end
  if count > 8 then count = 8 end
  return sub(format(digits, value), 9 - count)
end

return library
