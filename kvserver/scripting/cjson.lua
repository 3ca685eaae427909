-- cjson, the library of Redis's scripts that turns JSON into values and back: the texts, the numbers and the limits are those
-- of lua-cjson 2.1.0 in redis-server 7.0. Gets the functions of `failures`, returns the library.
--
-- The usual text is read by one pattern a token, which takes the space behind it along. What such a pattern does not know
-- (escapes, odd numbers, faults) is read by `token`, which knows all of it.
local fail, bad_argument, _, check_string, _, check_int = ...
local type, tonumber, next, select, rawget = type, tonumber, next, select, rawget
local floor, huge, ldexp = math.floor, math.huge, math.ldexp
local byte, char, sub, lower, format = string.byte, string.char, string.sub, string.lower, string.format
local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub
local concat = table.concat

-- What stands for JSON's null, which a table can't hold as nil.
local null = newproxy()

local ESCAPES = {["\b"] = "\\b", ["\t"] = "\\t", ["\n"] = "\\n", ["\f"] = "\\f", ["\r"] = "\\r", ['"'] = '\\"',
  ["\\"] = "\\\\", ["/"] = "\\/", ["\127"] = "\\u007f"}
for code = 0, 31 do
  local c = char(code)
  ESCAPES[c] = ESCAPES[c] or format("\\u%04x", code)
end
local UNSAFE = '[%c"\\/]'
local UNESCAPES = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", t = "\t", n = "\n", f = "\f", r = "\r"}

local SPACE = "^[ \t\r\n]*()"
local STRING = '^"([^"\\%z]*)"[ \t\r\n]*()'
local KEY = '^[ \t\r\n]*"([^"\\%z]*)"[ \t\r\n]*:[ \t\r\n]*()'
local NUMBER = "^(-?%d+%.?%d*)[ \t\r\n]*()%f[,%]}%z]"
local WORDS = {[102] = "^false[ \t\r\n]*()", [110] = "^null[ \t\r\n]*()", [116] = "^true[ \t\r\n]*()"}
local WORD_VALUES = {[102] = false, [110] = null, [116] = true}

-- The kinds of tokens have lua-cjson's names, since its errors tell them.
local PUNCTUATION = {[123] = "T_OBJ_BEGIN", [125] = "T_OBJ_END", [91] = "T_ARR_BEGIN", [93] = "T_ARR_END", [44] = "T_COMMA",
  [58] = "T_COLON"}

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64) end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

-- The character that \uXXXX at a position says, perhaps with a second one as its low surrogate, and the length of that.
local function unicode_escape(text, pos)
  local hex = match(text, "^%x%x%x%x", pos + 2)
  local code = hex and tonumber(hex, 16)
  if not code or code >= 0xDC00 and code < 0xE000 then return nil end
  if code < 0xD800 or code >= 0xE000 then return utf8(code), 6 end
  local low = match(text, "^\\u(%x%x%x%x)", pos + 6)
  low = low and tonumber(low, 16)
  if not low or low < 0xDC00 or low > 0xDFFF then return nil end
  return utf8((code - 0xD800) * 1024 + (low - 0xDC00) + 0x10000), 12
end

-- The token of a string, the quote of which stands before a position.
local function string_token(text, pos)
  local start = pos - 1
  local parts, n = {}, 0
  while true do
    local stop = find(text, '["\\%z]', pos)
    if not stop then return "T_ERROR", "unexpected end of string", #text + 1, #text + 1 end
    n = n + 1
    parts[n] = sub(text, pos, stop - 1)
    local b = byte(text, stop)
    if b == 34 then return "T_STRING", concat(parts, "", 1, n), stop + 1, start end
    if b == 0 then return "T_ERROR", "unexpected end of string", stop, stop end
    local escaped, length = sub(text, stop + 1, stop + 1), 2
    local fault = "invalid escape code"
    if escaped == "u" then
      fault = "invalid unicode escape code"
      escaped, length = unicode_escape(text, stop)
    else
      escaped = UNESCAPES[escaped]
    end
    if not escaped then return "T_ERROR", fault, stop, stop end
    n = n + 1
    parts[n] = escaped
    pos = stop + length
  end
end

-- The number that C's strtod reads in hexadecimal at a position, and the position behind it.
local function hexadecimal(text, pos)
  local digits = match(text, "^[-+]?0[xX]%x+%.?%x*[pP]?[-+]?%d*", pos)
  if not digits then return nil end
  local sign, whole, fraction, exponent = match(digits, "^([-+]?)0[xX](%x+)%.?(%x*)[pP]?([-+]?%d*)$")
  if not sign then return nil end
  if not tonumber(exponent) then
    digits, exponent = match(digits, "^[-+]?0[xX]%x+%.?%x*"), "0"
  end
  local value, unit = 0, 1
  for digit in gmatch(whole, ".") do value = value * 16 + tonumber(digit, 16) end
  for digit in gmatch(fraction, ".") do
    unit = unit / 16
    value = value + tonumber(digit, 16) * unit
  end
  value = ldexp(value, tonumber(exponent))
  return sign == "-" and -value or value, pos + #digits
end

-- The number that C's strtod reads at a position, and the position behind it; nil where it reads none.
local function strtod(text, pos)
  local value, behind = hexadecimal(text, pos)
  if value then return value, behind end
  local digits = match(text, "^[-+]?%d+%.?%d*", pos) or match(text, "^[-+]?%.%d+", pos)
  if digits then
    digits = digits .. (match(text, "^[eE][-+]?%d+", pos + #digits) or "")
    return tonumber(digits), pos + #digits
  end
  local sign, word = match(text, "^([-+]?)(%a+)", pos)
  word = word and lower(word) or ""
  local length
  if sub(word, 1, 8) == "infinity" then value, length = huge, 8
  elseif sub(word, 1, 3) == "inf" then value, length = huge, 3
  elseif sub(word, 1, 3) == "nan" then value, length = -(0 / 0), 3
  else return nil end
  return sign == "-" and -value or value, pos + #sign + length
end

-- True for a number that JSON does not have: hexadecimal, with a plus or a leading zero, NaN or an infinity.
local function is_invalid_number(text, pos)
  local b = byte(text, pos)
  if b == 43 then return true end
  if b == 45 then
    pos = pos + 1
    b = byte(text, pos)
  end
  if b == 48 then
    local c = byte(text, pos + 1) or 0
    return c == 120 or c == 88 or c >= 48 and c <= 57
  end
  if b == nil or b <= 57 then return false end
  local word = lower(sub(text, pos, pos + 2))
  return word == "inf" or word == "nan"
end

-- The token at a position: its kind, its value (of an error: what is wrong), the position behind it, its own position.
-- `invalid` says that numbers which JSON does not have are read, too.
local function token(text, pos, invalid)
  pos = match(text, SPACE, pos)
  local b = byte(text, pos)
  if b == nil or b == 0 then return "T_END", nil, pos, pos end
  if b == 34 then
    local kind, value, behind, at = string_token(text, pos + 1)
    return kind, value, behind, at
  end
  local kind = PUNCTUATION[b]
  if kind then return kind, nil, pos + 1, pos end
  local is_number = b == 45 or b >= 48 and b <= 57
  if is_number and not invalid and is_invalid_number(text, pos) then return "T_ERROR", "invalid number", pos, pos end
  if b == 116 and sub(text, pos, pos + 3) == "true" then return "T_BOOLEAN", true, pos + 4, pos end
  if b == 102 and sub(text, pos, pos + 4) == "false" then return "T_BOOLEAN", false, pos + 5, pos end
  if b == 110 and sub(text, pos, pos + 3) == "null" then return "T_NULL", null, pos + 4, pos end
  local may_be_word = b == 43 or b == 105 or b == 73 or b == 110 or b == 78
  if not is_number and not (may_be_word and invalid and is_invalid_number(text, pos)) then
    return "T_ERROR", "invalid token", pos, pos
  end
  local value, behind = strtod(text, pos)
  if not value then return "T_ERROR", "invalid number", pos, pos end
  return "T_NUMBER", value, behind, pos
end

local INT_MAX = 2147483647
local SWITCH = {[0] = "off", [1] = "on"}
local INVALID_NUMBERS = {[0] = "off", [1] = "on", [2] = "null"}

-- An integer as C's %d writes it, which "..", writing %.14g, does not do for long ones.
local function expected(what, text, pos, invalid)
  local kind, value, _, at = token(text, pos, invalid)
  fail("Expected " .. what .. " but found " .. (kind == "T_ERROR" and value or kind) .. " at character " .. format("%d", at))
end

-- An option that is on or off, or one of some words. Without an argument, the functions of options give the present value.
local function check_option(number, words, ...)
  local value = select(number, ...)
  if value == true then return 1 end
  if value == false then return 0 end
  local name = check_string(number, ...)
  for index, word in next, words do
    if word == name then return index end
  end
  bad_argument(number, "invalid option '" .. name .. "'")
end

local function check_integer(number, low, high, ...)
  local value = check_int(number, ...)
  if value < low or value > high then bad_argument(1, "expected integer between " .. low .. " and " .. format("%d", high)) end
  return value
end

local function check_count(most, ...)
  if select("#", ...) > most then bad_argument(most + 1, "found too many arguments") end
end

local function new()
  local sparse_convert, sparse_ratio, sparse_safe = 0, 2, 10
  local encode_depth, decode_depth, precision, precision_format = 1000, 1000, 14, nil
  local keep_buffer, encode_invalid, decode_invalid = 1, 0, 1

  -- The number of members, where a table's keys are positions, so that it is an array; nil for one that is an object.
  local function array_length(value)
    local last, count = 0, 0
    for key in next, value do
      if key == count + 1 and last == count then
        last = key
      elseif type(key) == "number" and key >= 1 and floor(key) == key then
        -- A position that is no int in C becomes the smallest of them.
        if key > last then last = key <= INT_MAX and key or -2147483648 end
      else
        return nil
      end
      count = count + 1
    end
    if sparse_ratio > 0 and last > count * sparse_ratio and last > sparse_safe then
      if sparse_convert == 0 then fail("Cannot serialise table: excessively sparse array") end
      return nil
    end
    return last, last == count
  end

  -- Both write pieces into a table behind position n, and return the new n. A number is a piece itself: table.concat writes it
  -- as %.14g does.
  local write

  local function write_string(value, out, n)
    out[n + 1] = '"'
    out[n + 2] = find(value, UNSAFE) and gsub(value, UNSAFE, ESCAPES) or value
    out[n + 3] = '"'
    return n + 3
  end

  local function write_table(value, depth, out, n)
    depth = depth + 1
    if depth > encode_depth then fail("Cannot serialise, excessive nesting (" .. depth .. ")") end
    local length, is_dense = array_length(value)
    if length and length > 0 then
      out[n + 1] = "["
      n = n + 1
      for i = 1, length do
        if i > 1 then
          n = n + 1
          out[n] = ","
        end
        local item
        if is_dense then item = value[i] else item = rawget(value, i) end
        n = write(item, depth, out, n)
      end
      out[n + 1] = "]"
      return n + 1
    end
    n = n + 1
    out[n] = "{"
    local first = n
    for key, item in next, value do
      if n > first then
        n = n + 1
        out[n] = ","
      end
      if type(key) == "string" then
        out[n + 1] = '"'
        out[n + 2] = find(key, UNSAFE) and gsub(key, UNSAFE, ESCAPES) or key
        out[n + 3] = '":'
        n = n + 3
      elseif type(key) == "number" then
        out[n + 1] = '"'
        n = write(key, depth, out, n + 1) + 1
        out[n] = '":'
      else
        fail("Cannot serialise " .. type(key) .. ": table key must be a number or string")
      end
      if type(item) == "string" then n = write_string(item, out, n) else n = write(item, depth, out, n) end
    end
    out[n + 1] = "}"
    return n + 1
  end

  function write(value, depth, out, n)
    local kind = type(value)
    local piece
    if kind == "string" then
      n = write_string(value, out, n)
      return n
    elseif kind == "number" then
      piece = value
      if value ~= value or value == huge or value == -huge then
        if encode_invalid == 0 then fail("Cannot serialise number: must not be NaN or Inf") end
        if encode_invalid == 2 then piece = "null" elseif value ~= value then piece = "nan" end
      elseif precision_format then
        piece = format(precision_format, value)
      end
    elseif kind == "table" then
      n = write_table(value, depth, out, n)
      return n
    elseif kind == "boolean" then
      piece = value and "true" or "false"
    elseif kind == "nil" or value == null then
      piece = "null"
    else
      fail("Cannot serialise " .. kind .. ": type not supported")
    end
    out[n + 1] = piece
    return n + 1
  end

  local function check_depth(depth, pos)
    if depth > decode_depth then
      fail("Found too many nested data structures (" .. depth .. ") at character " .. format("%d", pos))
    end
  end

  local function awkward_key(text, pos)
    local kind, key, behind = token(text, pos, true)
    if kind ~= "T_STRING" then expected("object key string", text, pos, decode_invalid == 1) end
    if token(text, behind, true) ~= "T_COLON" then expected("colon", text, behind, decode_invalid == 1) end
    return key, match(text, "^[ \t\r\n]*:[ \t\r\n]*()", behind)
  end

  -- The value that begins at a position, where no space stands, and the position behind it and the space there.
  local read

  local function read_object(text, pos, depth)
    check_depth(depth, pos)
    local object = {}
    local key, at = match(text, KEY, pos + 1)
    if not key then
      local behind = match(text, "^[ \t\r\n]*}[ \t\r\n]*()", pos + 1)
      if behind then return object, behind end
      key, at = awkward_key(text, pos + 1)
    end
    while true do
      object[key], pos = read(text, at, depth)
      local b = byte(text, pos)
      if b == 125 then return object, match(text, SPACE, pos + 1) end
      if b ~= 44 then expected("comma or object end", text, pos, decode_invalid == 1) end
      key, at = match(text, KEY, pos + 1)
      if not key then key, at = awkward_key(text, pos + 1) end
    end
  end

  local function read_array(text, pos, depth)
    check_depth(depth, pos)
    local array, n = {}, 0
    pos = match(text, SPACE, pos + 1)
    if byte(text, pos) == 93 then return array, match(text, SPACE, pos + 1) end
    while true do
      n = n + 1
      array[n], pos = read(text, pos, depth)
      local b = byte(text, pos)
      if b == 93 then return array, match(text, SPACE, pos + 1) end
      if b ~= 44 then expected("comma or array end", text, pos, decode_invalid == 1) end
      pos = match(text, SPACE, pos + 1)
    end
  end

  function read(text, pos, depth)
    local b = byte(text, pos)
    local value, behind
    if b == 34 then
      value, behind = match(text, STRING, pos)
      if value then return value, behind end
    elseif b == 123 then
      value, behind = read_object(text, pos, depth + 1)
      return value, behind
    elseif b == 91 then
      value, behind = read_array(text, pos, depth + 1)
      return value, behind
    elseif WORDS[b] then
      behind = match(text, WORDS[b], pos)
      if behind then return WORD_VALUES[b], behind end
    elseif decode_invalid == 1 then
      value, behind = match(text, NUMBER, pos)
      if value then return tonumber(value), behind end
    end
    local kind
    kind, value, behind = token(text, pos, decode_invalid == 1)
    if kind ~= "T_STRING" and kind ~= "T_NUMBER" and kind ~= "T_BOOLEAN" and kind ~= "T_NULL" then
      expected("value", text, pos, decode_invalid == 1)
    end
    return value, match(text, SPACE, behind)
  end

  local library = {null = null, _NAME = "cjson", _VERSION = "2.1.0", new = new}

  function library.encode(...)
    if select("#", ...) ~= 1 then bad_argument(1, "expected 1 argument") end
    local out = {}
    local n = write((...), 0, out, 0)
    return concat(out, "", 1, n)
  end

  function library.decode(...)
    if select("#", ...) ~= 1 then bad_argument(1, "expected 1 argument") end
    local text = check_string(1, ...)
    -- A text of two bytes or more is in UTF-16 or UTF-32 if one of the first two is zero.
    if #text >= 2 and (byte(text, 1) == 0 or byte(text, 2) == 0) then fail("JSON parser does not support UTF-16 or UTF-32") end
    local value, behind = read(text, match(text, SPACE), 0)
    if token(text, behind, decode_invalid == 1) ~= "T_END" then expected("the end", text, behind, decode_invalid == 1) end
    return value
  end

  function library.encode_max_depth(...)
    check_count(1, ...)
    if (...) ~= nil then encode_depth = check_integer(1, 1, INT_MAX, ...) end
    return encode_depth
  end

  function library.decode_max_depth(...)
    check_count(1, ...)
    if (...) ~= nil then decode_depth = check_integer(1, 1, INT_MAX, ...) end
    return decode_depth
  end

  function library.encode_number_precision(...)
    check_count(1, ...)
    if (...) ~= nil then
      precision = check_integer(1, 1, 14, ...)
      precision_format = precision < 14 and "%." .. precision .. "g" or nil
    end
    return precision
  end

  function library.encode_sparse_array(...)
    check_count(3, ...)
    local convert, ratio, safe = ...
    if convert ~= nil then sparse_convert = check_option(1, SWITCH, ...) end
    if ratio ~= nil then sparse_ratio = check_integer(2, 0, INT_MAX, ...) end
    if safe ~= nil then sparse_safe = check_integer(3, 0, INT_MAX, ...) end
    return sparse_convert == 1, sparse_ratio, sparse_safe
  end

  function library.encode_keep_buffer(...)
    check_count(1, ...)
    if (...) ~= nil then keep_buffer = check_option(1, SWITCH, ...) end
    return keep_buffer == 1
  end

  function library.encode_invalid_numbers(...)
    check_count(1, ...)
    if (...) ~= nil then encode_invalid = check_option(1, INVALID_NUMBERS, ...) end
    if encode_invalid == 2 then return "null" end
    return encode_invalid == 1
  end

  function library.decode_invalid_numbers(...)
    check_count(1, ...)
    if (...) ~= nil then decode_invalid = check_option(1, SWITCH, ...) end
    return decode_invalid == 1
  end

  return library
end

return new()
