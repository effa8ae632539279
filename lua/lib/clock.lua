--[[
  clock() -> microseconds of the server's clock since 1970.
  Called once per script, so that one decision sees one instant (promise P7).
  LEAST_TTL is the shortest life of a key, in milliseconds.
]]
local LEAST_TTL = 1
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
