-- Functions of Lua's library that stand behind functions of ours: their errors say what they would say if the script had called
-- them itself, with its line and the name that it called them by.
local kit = ...
local type, error, pcall, tonumber, select = type, error, pcall, tonumber, select
local find, match, sub = string.find, string.match, string.sub
local getinfo = debug.getinfo
local ours, shown = kit.name, getinfo(1, "S").short_src

-- What these functions raise, besides what is wrong with an argument. Other errors come from functions of the script within.
local own = {"^malformed pattern", "^invalid replacement value", "^invalid capture index$", "^invalid pattern capture$",
  "^unfinished capture$", "^unbalanced pattern$", "^too many captures$", "^missing '%['", "^cannot change a protected metatable$"}

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
  for i = 1, #own do
    if find(e, own[i]) then error(e, 4) end
  end
  error(e, 0)
end

-- Gives on what `pcall` has given of such a function. A function of ours hands it over and returns the result.
local function told(ok, ...)
  if ok then return ... end
  raise(...)
end
kit.told = told


-- An error that names a line of ours, with the line of the script instead: that of the first of its frames, in the coroutine c
-- or in the one that runs.
function kit.as_raised(e, c)
  local text = type(e) == "string" and sub(e, 1, #shown) == shown and match(e, "^:%d+: (.*)$", #shown + 1)
  if not text then return e end
  local level, frame = c and 0 or 2, nil
  repeat
    if c then frame = getinfo(c, level, "Sl") else frame = getinfo(level, "Sl") end
    level = level + 1
  until not frame or frame.currentline > 0 and frame.source ~= ours
  return frame and match(frame.source, "^[@=]?(.*)$") .. ":" .. frame.currentline .. ": " .. text or text
end
