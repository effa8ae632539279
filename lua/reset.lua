--[[
  reset: forget what the scopes have used. Reservations made before get nothing back afterwards: their epoch is gone.

  KEYS    1.. state of each scope
  ARGV    1 op-id (8 bytes)
  REPLY   op-id · verdict B (1 something was forgotten, 0 nothing was stored)
  ERRORS  RL_ARITY
  COST    O(scopes); one DEL
]]
if #KEYS < 1 or not ARGV[1] or #ARGV[1] ~= 8 then
  return redis.error_reply('RL_ARITY reset takes an op-id and one key per scope')
end
return ARGV[1] .. (redis.call('DEL', unpack(KEYS)) > 0 and '\1' or '\0')
