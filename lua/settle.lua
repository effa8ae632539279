--[[
  settle: replace the reserved cost by the real one. More is charged whatever the capacity (debt); what was not used
  is given back as far as that never makes a bucket looser than if the real cost had been charged at the start.

  KEYS    1 state of scope 1 · 2 page of the operation log · 3.. state of scope 2..
  ARGV    1 op-id (8 bytes) · 2 head (version B, page I2, page_ttl_ms I4, skew_us I4, page_s B)
          · per scope: layout (specs), terms (epoch c4, since_us I7, then reserved I7, actual I7, mark I7, rate I7,
          tick_us I3 per bucket)
  REPLY   op-id · verdict B (1 settled, 2 repeated) · now_us I7 · per scope: at_us I7, per bucket level I7 and credit I7
  ERRORS  RL_ARITY · RL_WIRE · RL_RANGE
  COST    O(buckets); TIME, one GET per scope, HSETNX, one PSETEX per scope, at most one PEXPIRE

  The op-id and the page are those of the reserve, so that a settle repeated from anywhere finds its record.
  `mark` is the level right after the reserve plus the refunds given until then. With the drain since and the refunds
  given since taken off, it is a lower bound of the level that was there at every instant in between: the most
  that may be given back (promise P6). Buckets are found by tag: a plan change never loses debt.
]]
--- @include "lib/clock.lua"
local LEVEL_MAX, NARROW = 4503599627370496, 4294967296
local op, head, page_key, count_scopes = ARGV[1], ARGV[2], KEYS[2], #KEYS - 1
if count_scopes < 1 or #ARGV < 2 + 2 * count_scopes or #op ~= 8 or #head ~= 12 then
  return redis.error_reply('RL_ARITY settle takes an op-id, a head and two values per scope')
end
local version, page, page_ttl, skew, page_s = struct.unpack('<BI2I4I4B', head)
if version ~= 1 then return redis.error_reply('RL_WIRE version ' .. version) end
if page_ttl < 1 then return redis.error_reply('RL_RANGE page_ttl_ms') end

local now = clock()
--- @include "lib/settle_pair.lua"

--- @include "lib/open_scope.lua"
--- @include "lib/settle_bucket.lua"
--- @include "lib/save_scope.lua"
-- Not the first half of the op-id: the reserve of that name may have given it to the very scope that is settled.
local scopes, floor, fresh = {}, math.floor, string.sub(op, 5, 8)
for s = 1, count_scopes do
  local layout, amounts = ARGV[2 * s + 1], ARGV[2 * s + 2]
  local count = (#amounts - 11) / 31
  if count < 1 or count > 64 or count % 1 > 0 then return redis.error_reply('RL_ARITY terms') end
  local epoch, since = struct.unpack('<c4I7', amounts)
  local terms = { struct.unpack('<' .. string.rep('I7I7I7I7I3', count), amounts, 12) }
  for i = 1, count do
    local reserved, actual, mark, rate, tick =
      terms[5 * i - 4], terms[5 * i - 3], terms[5 * i - 2], terms[5 * i - 1], terms[5 * i]
    if reserved > LEVEL_MAX or actual > LEVEL_MAX or mark > 2 * LEVEL_MAX or rate > LEVEL_MAX or rate < 1 or tick < 1 then
      return redis.error_reply('RL_RANGE terms of bucket ' .. i)
    end
  end
  local scope, stale = open_scope(
    redis.call('GET', KEYS[s == 1 and 1 or s + 1]), layout, count, terms, 5, now, skew, fresh, page_s)
  if stale then
    --- @include "lib/stored_buckets.lua"
    --- @include "lib/match_stored.lua"
    scope = match_stored(stale, layout, count) or open_scope(false, layout, count, terms, 5, now, skew, fresh, page_s)
    scope.convert = convert_level
  end
  scope.terms, scope.stride, scope.since, scope.same = terms, 5, since, scope.epoch == epoch
  scopes[s] = scope
end

local repeated = redis.call('HSETNX', page_key, op .. 's', '1') == 0
local reply, wide = op .. struct.pack('<BI7', repeated and 2 or 1, now), false
for _, scope in ipairs(scopes) do
  local terms, numbers, slots, owing = scope.terms, scope.numbers, scope.slots, false
  local exhausted = false
  reply = reply .. struct.pack('<I7', scope.at)
  for i = 1, (#terms - 1) / 5 do
    local debt, rate, tick = terms[5 * i - 3] - terms[5 * i - 4], terms[5 * i - 1], terms[5 * i]
    local index, bound, slot = 2 * i - 1, 0, slots and slots[i]
    if scope.same then
      bound = terms[5 * i - 2] - (floor(scope.at / tick) - floor(scope.since / tick)) * rate
    end
    if slot then
      index = slot.index
      if not slot.same then debt, bound = math.max(0, debt) / slot.from * slot.units, 0 end
    end
    if repeated then debt = 0 end
    if debt > 0 then owing = true end
    local credit = settle_bucket(numbers, index, debt, bound)
    if numbers[index + 1] > LEVEL_MAX then exhausted = true end
    local level = numbers[index]
    if slot and not slot.same then level = scope.convert(level, slot.units, slot.from) end
    reply = reply .. struct.pack('<I7I7', level, credit)
  end
  if exhausted then
    scope.epoch = fresh
    for i = 2, 2 * scope.count, 2 do numbers[i] = 0 end
  end
  for i = 1, 2 * scope.count do
    if numbers[i] >= NARROW then wide = true end
  end
  scope.idle = scope.created and not owing
end
if repeated then return reply end

local first = scopes[1]
if first.page ~= page then
  redis.call('PEXPIRE', page_key, string.format('%d', page_ttl))
  -- A page that reserves write to is not forgotten for this one: settles of long streams reach back to older ones.
  if first.page == 65535 then first.page, first.paged_at = page, floor(now / 1000000) % 256 end
end
for s, scope in ipairs(scopes) do
  if not scope.idle then save_scope(KEYS[s == 1 and 1 or s + 1], scope, wide, now) end
end
return reply
