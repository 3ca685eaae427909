-- The kit: what every other file here is given. It begins with Python's callables, in the order of their names in interpreter.py.
local next = next
local byte, find, sub = string.byte, string.find, string.sub
local kit = {}
kit.call, kit.call_many, kit.tick, kit.setresp, kit.log, kit.sha1, kit.random, kit.seed, kit.may_call, kit.note_error, kit.version,
  kit.version_number = ...

-- The name that all chunks of the sandbox have, which no script knows, by which their frames are told from those of scripts.
kit.name = debug.getinfo(1, "S").source

function kit.copy(t)
  local c = {}
  for k, v in next, t do c[k] = v end
  return c
end

-- The part of a text that C sees: a NUL ends it.
function kit.before_nul(text)
  local stop = find(text, "%z")
  return stop and sub(text, 1, stop - 1) or text
end

-- A text without the line ends behind it. A pattern that ends with `$` would be tried at each place of a text.
function kit.trimmed(text)
  local stop = #text
  while stop > 0 and (byte(text, stop) == 10 or byte(text, stop) == 13) do stop = stop - 1 end
  return sub(text, 1, stop)
end

return kit
