--[[
  reserve: charge the estimated cost to every bucket of every scope, or to none.

  KEYS    1 state of scope 1 · 2 page of the operation log · 3.. state of scope 2..
  ARGV    1 op-id (8 bytes) · 2 head (version B, page I2, page_ttl_ms I4, skew_us I4, page_s B)
          · per scope: layout (specs), terms (cost I7, capacity I7, rate I7, tick_us I3 per bucket)
  REPLY   op-id · verdict B (1 allowed, 0 refused) · now_us I7 · per scope: epoch c4, at_us I7, per bucket level and
          refunded (I4 each, I7 each when one of them needs it)
  ERRORS  RL_ARITY · RL_WIRE · RL_RANGE
  COST    O(buckets); TIME, one GET per scope, HSETNX, one PSETEX per scope, one PEXPIRE per page and subject

  Allowed, the levels include the cost. Refused, they do not, and nothing was written but, after the clock
  jumped back, the time. A repeated op-id finds its
  record in the page, whether it would fit now or not, and gets the first answer again, byte for byte from the first
  epoch on. A refusal leaves no record: repeated, it is decided anew.
]]
--- @include "lib/clock.lua"
local LEVEL_MAX, NARROW = 4503599627370496, 4294967296
local op, head, page_key, count_scopes = ARGV[1], ARGV[2], KEYS[2], #KEYS - 1
if count_scopes < 1 or #ARGV < 2 + 2 * count_scopes or #op ~= 8 or #head ~= 12 then
  return redis.error_reply('RL_ARITY reserve takes an op-id, a head and two values per scope')
end
local version, page, page_ttl, skew, page_s = struct.unpack('<BI2I4I4B', head)
if version ~= 1 then return redis.error_reply('RL_WIRE version ' .. version) end
if page_ttl < 1 then return redis.error_reply('RL_RANGE page_ttl_ms') end

local now = clock()
--- @include "lib/reserve_pair.lua"

--- @include "lib/open_scope.lua"
--- @include "lib/save_scope.lua"
local scopes, allowed, wide, fresh = {}, true, false, string.sub(op, 1, 4)
for s = 1, count_scopes do
  local layout, amounts = ARGV[2 * s + 1], ARGV[2 * s + 2]
  local count = #amounts / 24
  if count < 1 or count > 64 or count % 1 > 0 then return redis.error_reply('RL_ARITY terms') end
  local terms = { struct.unpack('<' .. string.rep('I7I7I7I3', count), amounts) }
  local scope, stale = open_scope(
    redis.call('GET', KEYS[s == 1 and 1 or s + 1]), layout, count, terms, 4, now, skew, fresh, page_s)
  if stale then
    --- @include "lib/stored_buckets.lua"
    --- @include "lib/replan.lua"
    scope = replan(stale, layout, count, fresh) or open_scope(false, layout, count, terms, 4, now, skew, fresh, page_s)
  end
  scope.terms, scope.stride = terms, 4
  local numbers = scope.numbers
  for i = 1, count do
    local cost, capacity, rate, tick = terms[4 * i - 3], terms[4 * i - 2], terms[4 * i - 1], terms[4 * i]
    if cost > LEVEL_MAX or capacity > LEVEL_MAX or rate > LEVEL_MAX or rate < 1 or tick < 1 then
      return redis.error_reply('RL_RANGE terms of bucket ' .. i)
    end
    local charged = numbers[2 * i - 1] + cost
    if charged > capacity and cost > 0 then allowed = false end
    if charged >= NARROW or numbers[2 * i] >= NARROW then wide = true end
  end
  for i = 2 * count + 1, 2 * scope.count do
    if numbers[i] >= NARROW then wide = true end
  end
  scopes[s] = scope
end

local record, pair = '', wide and 'I7I7' or 'I4I4'
for _, scope in ipairs(scopes) do
  local numbers, terms = scope.numbers, scope.terms
  local count = (#terms - 1) / 4
  if allowed then
    for i = 1, count do numbers[2 * i - 1] = numbers[2 * i - 1] + terms[4 * i - 3] end
  end
  record = record .. scope.epoch
    .. struct.pack('<I7' .. string.rep(pair, count), scope.at, unpack(numbers, 1, 2 * count))
end
local stamp = struct.pack('<I7', now)
if not allowed then
  local known = redis.call('HGET', page_key, op)
  if known then return op .. '\1' .. stamp .. known end
  for s, scope in ipairs(scopes) do
    if scope.reanchored then save_scope(KEYS[s == 1 and 1 or s + 1], scope, wide, now) end
  end
  return op .. '\0' .. stamp .. record
end

if redis.call('HSETNX', page_key, op, record) == 0 then
  return op .. '\1' .. stamp .. redis.call('HGET', page_key, op)
end
-- The page's TTL needs renewing only when this subject has not done so within the length of a page.
local first = scopes[1]
if first.page ~= page then
  redis.call('PEXPIRE', page_key, string.format('%d', page_ttl))
  first.page, first.paged_at = page, math.floor(now / 1000000) % 256
end
for s, scope in ipairs(scopes) do
  save_scope(KEYS[s == 1 and 1 or s + 1], scope, wide, now)
end
return op .. '\1' .. stamp .. record
