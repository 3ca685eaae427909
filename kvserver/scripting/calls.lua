-- Functions of Lua's library that stand behind functions of ours: their errors say what they would say if the script had called
-- them itself, with its line and the name that it called them by.
local kit = ...
local type, error, next, tonumber = type, error, next, tonumber
local find, match, sub = string.find, string.match, string.sub
local getinfo = debug.getinfo
-- Our chunks' names, and what Lua's texts show of them.
local is_ours = {[kit.name] = true, [kit.libraries_name] = true}
kit.is_ours = is_ours
local WIDTH = #getinfo(1, "S").short_src
local is_shown = {}
for name in next, is_ours do is_shown[sub(name, 2, WIDTH + 1)] = true end
-- So many levels of the stack are looked at: each tail call that is lost is one, and a script can make millions.
kit.MAX_LEVELS = 250

-- What these functions raise, besides what is wrong with an argument. Other errors come from functions of the script within.
local own = {"^malformed pattern", "^invalid replacement value", "^invalid capture index$", "^invalid pattern capture$",
  "^unfinished capture$", "^unbalanced pattern$", "^too many captures$", "^missing '%['", "^cannot change a protected metatable$"}

local function is_own(text)
  for i = 1, #own do
    if find(text, own[i]) then return true end
  end
  return false
end

-- The function of ours that was called lies behind `told`, and the script's behind that.
local function raise(e)
  if type(e) ~= "string" then error(e, 0) end
  local number, text = match(e, "^bad argument #(%d+) to '%?' %((.*)%)$")
  if number then
    local called = getinfo(3, "n")
    local name = called.name or "?"
    number = tonumber(number)
    if called.namewhat == "method" then number = number - 1 end
    if number == 0 then error("calling '" .. name .. "' on bad self (" .. text .. ")", 4) end
    error("bad argument #" .. number .. " to '" .. name .. "' (" .. text .. ")", 4)
  end
  error(e, is_own(e) and 4 or 0)
end

-- Gives on what `pcall` has given of such a function. A function of ours hands it over and returns the result.
local function told(ok, ...)
  if ok then return ... end
  raise(...)
end
kit.told = told

-- What an error says behind a line of ours, or nil.
local function behind_line(e)
  return type(e) == "string" and is_shown[sub(e, 1, WIDTH)] and match(e, "^:%d+: (.*)$", WIDTH + 1)
end

-- An error that names a line of ours, with the line of the script instead: that which called gsub, or that of the first of its
-- frames, in the coroutine c or in the one that runs.
function kit.as_raised(e, c)
  local text = behind_line(e)
  if not text then return e end
  local frame = is_own(text) and kit.matching
  if frame then return frame.currentline > 0 and frame.short_src .. ":" .. frame.currentline .. ": " .. text or text end
  local level = c and 0 or 2
  repeat
    if c then frame = getinfo(c, level, "Sl") else frame = getinfo(level, "Sl") end
    level = level + 1
    if frame and frame.currentline > 0 and not is_ours[frame.source] then
      return frame.short_src .. ":" .. frame.currentline .. ": " .. text
    end
  until not frame or level > kit.MAX_LEVELS
  return text
end
