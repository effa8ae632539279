--[[
  peek: what is stored, and the server's time. Writes nothing; the caller does the arithmetic.

  KEYS    1.. state of each scope
  ARGV    1 op-id (8 bytes)
  REPLY   op-id · now_us I7 · per scope: length I2, state as stored (length 0: nothing stored)
  ERRORS  RL_ARITY
  COST    O(scopes); TIME, one GET per scope
]]
--- @include "lib/clock.lua"
if #KEYS < 1 or not ARGV[1] or #ARGV[1] ~= 8 then
  return redis.error_reply('RL_ARITY peek takes an op-id and one key per scope')
end
local reply = ARGV[1] .. struct.pack('<I7', clock())
for _, key in ipairs(KEYS) do
  local raw = redis.call('GET', key) or ''
  reply = reply .. struct.pack('<I2', #raw) .. raw
end
return reply
