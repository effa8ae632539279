--[[
  express: decide and settle for many subjects at once, where all is ordinary: one scope with two narrow buckets each
  that count microseconds, no plan change, no clock step. What is not is left alone, and answered so.

  KEYS    1 record of this call · per subject: state, pages of its settles
  ARGV    1 op-id (8 bytes) · 2 head (version B, page I2, page_ttl_ms I4, skew_us I4, page_s B)
          · 3 counts (plans B, subjects I2) · per plan: layout (specs), terms (capacity I4, rate I4 per bucket)
          · per subject: operations (plan B, then per operation verb B, and for verb 1: cost1 I4, cost2 I4; for verb 2:
          op-id c8, page I2, epoch I4, since_us I8, reserved1 I4, actual1 I4, mark1 I8, reserved2 I4, actual2 I4,
          mark2 I8)
  REPLY   op-id · repeated B (1 first time, 2 repeated) · now_us I8 · per operation: verdict B, epoch I4, level1 I4,
          given1 I4, level2 I4, given2 I4
  ERRORS  RL_ARITY · RL_WIRE · RL_RANGE · RL_LOST
  COST    O(operations); TIME, two HSETNX, one PEXPIRE, per subject one GET and one PSETEX, per settle HSETNX and at
          most one PEXPIRE

  Verb 1 is reserve, 2 is settle. Verdict 1 is allowed, 0 refused, with the refunds given so far in `given`; 2 is
  settled, 3 settled before, with the credit in `given`; 9 is not ordinary: nothing happened, ask reserve.lua or
  settle.lua.

  Exactly once: a reserve is repeated only by repeating the whole call, which finds its record under KEYS[1] and gets
  the first reply again. A settle, which anybody may repeat, has its own record in its page, as in settle.lua. The
  record is begun before anything else is written, so that whoever may not write it changes nothing.
]]
--- @include "lib/clock.lua"
local LEVEL_MAX, NARROW, RESERVE, SETTLE = 4503599627370496, 4294967296, 9, 55
local unpack, pack, byte, floor, ceil = struct.unpack, struct.pack, string.byte, math.floor, math.ceil
local op, head, plans = ARGV[1], ARGV[2], {}
if #ARGV < 6 or #op ~= 8 or #head ~= 12 or #ARGV[3] ~= 3 then
  return redis.error_reply('RL_ARITY express takes an op-id, a head, counts, plans and operations')
end
local version, _, page_ttl, _, page_s = unpack('<BI2I4I4B', head)
if version ~= 1 then return redis.error_reply('RL_WIRE version ' .. version) end
if page_ttl <= page_s * 1000 then return redis.error_reply('RL_RANGE page_ttl_ms') end
local count, subjects = unpack('<BI2', ARGV[3])
local first, final, keys = 4 + 2 * count, 3 + 2 * count + subjects, 1
if count < 1 or subjects < 1 or #ARGV < final then return redis.error_reply('RL_ARITY counts') end
for i = 1, count do
  if #ARGV[3 + 2 * i] ~= 16 then return redis.error_reply('RL_ARITY terms') end
  local capacity1, rate1, capacity2, rate2 = unpack('<I4I4I4I4', ARGV[3 + 2 * i])
  if rate1 < 1 or rate2 < 1 then return redis.error_reply('RL_RANGE terms') end
  plans[i] = { ARGV[2 + 2 * i], capacity1, rate1, capacity2, rate2 }
end
for s = first, final do
  local operations = ARGV[s]
  local at, last, plan = 2, #operations, byte(operations)
  if last < 2 or not plans[plan] then return redis.error_reply('RL_ARITY operations') end
  keys = keys + 1
  while at <= last do
    local verb = byte(operations, at)
    if verb == 2 then
      at, keys = at + SETTLE, keys + 1
    elseif verb == 1 then
      at = at + RESERVE
    else
      return redis.error_reply('RL_ARITY verb')
    end
  end
  if at ~= last + 1 then return redis.error_reply('RL_ARITY operations') end
end
if keys ~= #KEYS then return redis.error_reply('RL_ARITY keys') end

local now, record = clock(), KEYS[1]
if redis.call('HSETNX', record, 'begun', '') == 0 then
  local known = redis.call('HGET', record, 'reply')
  if not known then return redis.error_reply('RL_LOST this call has begun and did not end') end
  return op .. '\2' .. known
end
local lives = redis.pcall('PEXPIRE', record, string.format('%d', page_ttl - page_s * 1000))
if type(lives) == 'table' then
  -- Who may not do this would leave a record of every call for ever.
  redis.call('DEL', record)
  return lives
end

local call, pcall_ = redis.call, redis.pcall
local replies, n, fresh, second, k = { pack('<I8', now) }, 1, unpack('<I4', op), floor(now / 1000000) % 256, 2
local OTHER = pack('<BI4I4I4I4I4', 9, 0, 0, 0, 0, 0)
for s = first, final do
  local operations, key = ARGV[s], KEYS[k]
  local plan = plans[byte(operations)]
  local layout, capacity1, rate1, capacity2, rate2 = plan[1], plan[2], plan[3], plan[4], plan[5]
  local raw = pcall_('GET', key)
  local page, paged_at, epoch, ts, level1, refunded1, level2, refunded2 = 65535, 0, fresh, now, 0, 0, 0, 0
  local ordinary, changed = true, false
  if raw then
    ordinary = #raw == 31 + #layout and string.sub(raw, 32) == layout
    if ordinary then
      local shape
      page, paged_at, shape, epoch, ts, level1, refunded1, level2, refunded2 = unpack('<I2BBI4I7I4I4I4I4', raw)
      ordinary = shape == 2 and now >= ts
      -- Forgotten before the seconds come round, as in lib/open_scope.lua.
      if (second - paged_at) % 256 >= page_s or now - ts >= page_s * 1000000 then page = 65535 end
      local drained1, drained2 = (now - ts) * rate1, (now - ts) * rate2
      level1 = drained1 < level1 and level1 - drained1 or 0
      level2 = drained2 < level2 and level2 - drained2 or 0
    end
  end
  k = k + 1
  local at, last = 2, #operations
  while at <= last do
    -- Drained altogether is the same as new: refunds promised before are worth nothing.
    if level1 == 0 and level2 == 0 then epoch, refunded1, refunded2 = fresh, 0, 0 end
    n = n + 1
    if byte(operations, at) == 1 then
      local cost1, cost2 = unpack('<I4I4', operations, at + 1)
      local charged1, charged2 = level1 + cost1, level2 + cost2
      if not ordinary then
        replies[n] = OTHER
      elseif charged1 > capacity1 and cost1 > 0 or charged2 > capacity2 and cost2 > 0 then
        replies[n] = pack('<BI4I4I4I4I4', 0, epoch, level1, refunded1, level2, refunded2)
      else
        level1, level2, changed = charged1, charged2, true
        replies[n] = pack('<BI4I4I4I4I4', 1, epoch, level1, refunded1, level2, refunded2)
      end
      at = at + RESERVE
    else
      replies[n] = OTHER
      if ordinary then
        --- @include "lib/settle_express.lua"
      end
      at, k = at + SETTLE, k + 1
    end
  end
  if changed then
    local ttl1, ttl2 = ceil(level1 / rate1), ceil(level2 / rate2)
    local ttl = ceil((ttl1 > ttl2 and ttl1 or ttl2) / 1000)
    call('PSETEX', key, string.format('%d', ttl > LEAST_TTL and ttl or LEAST_TTL),
      pack('<I2BBI4I7I4I4I4I4', page, paged_at, 2, epoch, now, level1, refunded1, level2, refunded2) .. layout)
  end
end
local reply = table.concat(replies)
call('HSETNX', record, 'reply', reply)
return op .. '\1' .. reply
