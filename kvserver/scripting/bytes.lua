-- Numbers as bytes, the most significant one first, and back. Returns the functions below.
local floor, huge, frexp, ldexp, char, find, format = math.floor, math.huge, math.frexp, math.ldexp, string.char, string.find,
  string.format

-- The lower bytes of an integer (-2^63 <= n < 2^64) in two's complement. `size` is 1, 2, 4 or 8.
local function integer_bytes(n, size)
  if size == 1 then return char(n % 256) end
  if size == 2 then
    n = n % 65536
    return char(floor(n / 256), n % 256)
  end
  if size == 4 then
    n = n % 4294967296
    return char(floor(n / 16777216), floor(n / 65536) % 256, floor(n / 256) % 256, n % 256)
  end
  local high = floor(n / 4294967296)
  local low = n - high * 4294967296
  high = high % 4294967296
  return char(floor(high / 16777216), floor(high / 65536) % 256, floor(high / 256) % 256, high % 256,
    floor(low / 16777216), floor(low / 65536) % 256, floor(low / 256) % 256, low % 256)
end

-- The bit of the sign, as the highest of a byte, and the absolute value. C writes that of a NaN, which no operator asks.
local function sign_of(d)
  if d ~= d then return find(format("%f", d), "-", 1, true) and 128 or 0, d end
  if d < 0 then return 128, -d end
  return d == 0 and 1 / d < 0 and 128 or 0, d
end

local function double_bytes(d)
  local sign, rest = sign_of(d)
  if rest ~= rest then return char(sign + 127) .. "\248\0\0\0\0\0\0" end
  if rest == huge then return char(sign + 127) .. "\240\0\0\0\0\0\0" end
  if rest == 0 then return char(sign) .. "\0\0\0\0\0\0\0" end
  local mantissa, exponent = frexp(rest)
  exponent = exponent + 1022
  if exponent > 0 then
    mantissa = (mantissa * 2 - 1) * 4503599627370496
  else
    -- It is subnormal.
    mantissa = ldexp(mantissa, 52 + exponent)
    exponent = 0
  end
  local high = floor(mantissa / 4294967296)
  return char(sign + floor(exponent / 16), exponent % 16 * 16 + floor(high / 65536), floor(high / 256) % 256, high % 256)
    .. integer_bytes(mantissa - high * 4294967296, 4)
end

-- A double as a float's bytes, rounded to the nearest, and to the even one of two.
local function float_bytes(d)
  local sign, rest = sign_of(d)
  if rest ~= rest then return char(sign + 127) .. "\192\0\0" end
  if rest == 0 then return char(sign) .. "\0\0\0" end
  local mantissa, exponent = frexp(rest)
  exponent = exponent + 126
  if rest == huge or exponent > 254 then return char(sign + 127) .. "\128\0\0" end
  local scaled = exponent > 0 and (mantissa * 2 - 1) * 8388608 or ldexp(mantissa, 23 + exponent)
  if exponent < 0 then exponent = 0 end
  local whole = floor(scaled)
  local fraction = scaled - whole
  if fraction > 0.5 or fraction == 0.5 and whole % 2 == 1 then whole = whole + 1 end
  if whole == 8388608 then
    whole, exponent = 0, exponent + 1
    if exponent > 254 then return char(sign + 127) .. "\128\0\0" end
  end
  return char(sign + floor(exponent / 2), exponent % 2 * 128 + floor(whole / 65536), floor(whole / 256) % 256, whole % 256)
end

local function bytes_double(a, b, c, d, e, f, g, h)
  local sign = 1
  if a >= 128 then sign, a = -1, a - 128 end
  local exponent = a * 16 + floor(b / 16)
  local mantissa = ((((((b % 16) * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g) * 256 + h
  if exponent == 2047 then
    if mantissa == 0 then return sign * huge end
    -- 0/0 is the NaN with a sign, on this processor.
    return sign > 0 and -(0 / 0) or 0 / 0
  end
  if exponent == 0 then return sign * ldexp(mantissa, -1074) end
  return sign * ldexp(mantissa + 4503599627370496, exponent - 1075)
end

local function bytes_float(a, b, c, d)
  local sign = 1
  if a >= 128 then sign, a = -1, a - 128 end
  local exponent = a * 2 + floor(b / 128)
  local mantissa = ((b % 128) * 256 + c) * 256 + d
  if exponent == 255 then
    if mantissa == 0 then return sign * huge end
    return sign > 0 and -(0 / 0) or 0 / 0
  end
  if exponent == 0 then return sign * ldexp(mantissa, -149) end
  return sign * ldexp(mantissa + 8388608, exponent - 150)
end

return integer_bytes, double_bytes, float_bytes, bytes_double, bytes_float
