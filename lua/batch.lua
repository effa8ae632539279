--[[
  batch: run the reserves and settles that travel together, in order, each as if it had come alone.

  KEYS    1.. those of operation 1 · those of operation 2..
  ARGV    1 op-id (8 bytes) · 2 plan (verb B, keys B, arguments B per operation) · 3.. the arguments of operation 1,
          those of operation 2..
  REPLY   op-id · per operation: the reply of its script, or its error
  ERRORS  RL_ARITY · RL_WIRE · RL_RANGE
  COST    O(buckets); TIME once, and what each operation costs but for that

  An array, unlike the other replies. Verb 1 is reserve, 2 is settle. All see one instant (promise P7). An operation that
  fails, by itself or on what it finds, leaves the others alone; that a plan fits its keys and arguments is checked before
  the first of them begins. The op-id is the first operation's.
]]
--- @include "lib/clock.lua"
--- @include "lib/open_scope.lua"
--- @include "lib/save_scope.lua"
local instant = clock()
clock = function() return instant end
--- @include "reserve.lua" as reserve
--- @include "settle.lua" as settle
local plan, verbs, replies = ARGV[2], { reserve, settle }, { ARGV[1] }
local keys_end, arguments_end = 0, 2
if not plan or #ARGV[1] ~= 8 or #plan % 3 > 0 then
  return redis.error_reply('RL_ARITY batch takes an op-id and a plan')
end
for i = 1, #plan, 3 do
  local verb, keys, arguments = struct.unpack('<BBB', plan, i)
  if not verbs[verb] then return redis.error_reply('RL_ARITY plan') end
  keys_end, arguments_end = keys_end + keys, arguments_end + arguments
end
if keys_end ~= #KEYS or arguments_end ~= #ARGV then return redis.error_reply('RL_ARITY plan and arguments') end

keys_end, arguments_end = 0, 2
for i = 1, #plan, 3 do
  local verb, keys, arguments = struct.unpack('<BBB', plan, i)
  local done, reply = pcall(verbs[verb], { unpack(KEYS, keys_end + 1, keys_end + keys) },
    { unpack(ARGV, arguments_end + 1, arguments_end + arguments) })
  -- Servers differ in what a failed command raises: its text, or a table that holds it.
  replies[#replies + 1] = (done or type(reply) == 'table') and reply or { err = reply }
  keys_end, arguments_end = keys_end + keys, arguments_end + arguments
end
return replies
