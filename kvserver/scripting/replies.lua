-- What a script returned, as it is sent to its client. Strings, numbers and nil are Python's to send; the rest becomes text here.
-- That may take long: this has the libraries' name, so that a script which is killed ends here, too.
local kit = ...
local type, next, rawget = type, next, rawget
local format, gsub, sub, concat, huge = string.format, string.gsub, string.sub, table.concat, math.huge

-- Redis fails where its Lua stack has no more room.
local DEEPEST = 7996

-- The protocol of the client.
kit.client_protocol = 2

local before_nul, trimmed = kit.before_nul, kit.trimmed
local function line(text) return (gsub(text, "[\r\n]", " ")) end
local function bulk(s) return "$" .. #s .. "\r\n" .. s .. "\r\n" end

local wire

-- The tables that stand for other values than arrays, by the field that says so, in Redis's order.
local kinds = {
  {"err", "string", function(text, out, n, _, of)
    kit.note_error(text, rawget(of, "ignore_error_stats_update") and true or false)
    out[n] = "-" .. line(trimmed(before_nul(text))) .. "\r\n"
    return n
  end},
  {"ok", "string", function(text, out, n)
    out[n] = "+" .. line(before_nul(text)) .. "\r\n"
    return n
  end},
  {"double", "number", function(number, out, n)
    local s = number == huge and "inf" or number == -huge and "-inf" or format("%.17g", number)
    out[n] = kit.client_protocol == 3 and "," .. s .. "\r\n" or bulk(s)
    return n
  end},
  {"big_number", "string", function(digits, out, n)
    digits = line(digits)
    out[n] = kit.client_protocol == 3 and "(" .. digits .. "\r\n" or bulk(digits)
    return n
  end},
  {"verbatim_string", "table", function(of, out, n)
    local kind, s = rawget(of, "format"), rawget(of, "string")
    if type(kind) ~= "string" or type(s) ~= "string" then return nil end
    if kit.client_protocol == 3 then out[n] = "=" .. (#s + 4) .. "\r\n" .. sub(before_nul(kind) .. "   ", 1, 3) .. ":" .. s .. "\r\n"
    else out[n] = bulk(s) end
    return n
  end},
  {"map", "table", function(map, out, n, depth)
    local at, count = n, 0
    for k, e in next, map do
      n = wire(k, out, n, depth + 3)
      n = wire(e, out, n, depth + 2)
      count = count + 1
    end
    out[at] = kit.client_protocol == 3 and "%" .. count .. "\r\n" or "*" .. count * 2 .. "\r\n"
    return n
  end},
  {"set", "table", function(set, out, n, depth)
    local at, count = n, 0
    for k in next, set do
      n = wire(k, out, n, depth + 3)
      count = count + 1
    end
    out[at] = kit.client_protocol == 3 and "~" .. count .. "\r\n" or "*" .. count .. "\r\n"
    return n
  end},
}

local function boolean(v)
  if kit.protocol == 2 then return v and ":1\r\n" or (kit.client_protocol == 3 and "_\r\n" or "$-1\r\n") end
  if kit.client_protocol == 3 then return v and "#t\r\n" or "#f\r\n" end
  return v and ":1\r\n" or ":0\r\n"
end

-- Puts the text of a value behind the n pieces in `out`. Returns the new number of pieces.
wire = function(v, out, n, depth)
  local t = type(v)
  n = n + 1
  if depth > DEEPEST then
    out[n] = "-ERR reached lua stack limit\r\n"
  elseif t == "string" then
    out[n] = bulk(v)
  elseif t == "number" then
    out[n] = format(":%d\r\n", v)
  elseif t == "boolean" then
    out[n] = boolean(v)
  elseif t == "table" then
    for i = 1, 7 do
      local kind = kinds[i]
      local field = rawget(v, kind[1])
      if type(field) == kind[2] then
        local after = kind[3](field, out, n, depth, v)
        if after then return after end
      end
    end
    local at, count = n, 0
    while true do
      local e = rawget(v, count + 1)
      if e == nil then break end
      n = wire(e, out, n, depth + 1)
      count = count + 1
    end
    out[at] = "*" .. count .. "\r\n"
  else
    out[n] = kit.client_protocol == 3 and "_\r\n" or "$-1\r\n"
  end
  return n
end

-- The text of a value, as it is sent.
function kit.encoded(v)
  local out = {}
  return concat(out, "", 1, wire(v, out, 0, 0))
end
