--[[
  clock() -> microseconds given by the caller as the last ARGV.
  Takes the place of lib/clock.lua in replays and in tests that step the clock; never in service. Keys live by the
  server's own time, so they are given ten minutes: expiry must not overtake a virtual clock that stands still.
]]
local LEAST_TTL = 600000
local function clock()
  local now = tonumber(ARGV[#ARGV])
  if not now or now ~= now or now < 0 or now > 4503599627370496 or now ~= math.floor(now) then
    error('RL_RANGE virtual time must be a whole number of microseconds')
  end
  return now
end
