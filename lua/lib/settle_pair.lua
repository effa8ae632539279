--[[
  The express lane of settle: one scope with two narrow buckets, stored as it was reserved, no clock step. Falls
  through to the general code with nothing written otherwise; see lib/reserve_pair.lua.
]]
if #KEYS == 2 and #ARGV[4] == 73 then
  local unpack, pack, floor, ceil = struct.unpack, struct.pack, math.floor, math.ceil
  local layout, raw = ARGV[3], redis.call('GET', KEYS[1])
  local mark_epoch, since, reserved1, actual1, mark1, rate1, tick1, reserved2, actual2, mark2, rate2, tick2 =
    unpack('<c4I7I7I7I7I7I3I7I7I7I7I3', ARGV[4])
  local old_page, paged_at, shape, epoch, ts, level1, refunded1, level2, refunded2
  if raw and #raw == 31 + #layout and string.sub(raw, 32) == layout then
    old_page, paged_at, shape, epoch, ts, level1, refunded1, level2, refunded2 = unpack('<I2BBc4I7I4I4I4I4', raw)
  end
  if shape == 2 and epoch == mark_epoch and now >= ts
    and actual1 < NARROW and actual2 < NARROW and reserved1 < NARROW and reserved2 < NARROW
    and rate1 > 0 and rate2 > 0 and rate1 <= LEVEL_MAX and rate2 <= LEVEL_MAX and tick1 > 0 and tick2 > 0
    and mark1 <= 2 * LEVEL_MAX and mark2 <= 2 * LEVEL_MAX then
    local drained1 = (tick1 == 1 and now - ts or floor(now / tick1) - floor(ts / tick1)) * rate1
    local drained2 = (tick2 == 1 and now - ts or floor(now / tick2) - floor(ts / tick2)) * rate2
    level1 = drained1 < level1 and level1 - drained1 or 0
    level2 = drained2 < level2 and level2 - drained2 or 0
    local debt1, debt2 = actual1 - reserved1, actual2 - reserved2
    local bound1 = mark1 - refunded1 - (floor(now / tick1) - floor(since / tick1)) * rate1
    local bound2 = mark2 - refunded2 - (floor(now / tick2) - floor(since / tick2)) * rate2
    --- @include "lib/credit_pair.lua"
    local settled1, settled2 = level1 + debt1, level2 + debt2
    refunded1, refunded2 = refunded1 + credit1, refunded2 + credit2
    if (level1 > 0 or level2 > 0)
      and settled1 < NARROW and settled2 < NARROW and refunded1 < NARROW and refunded2 < NARROW then
      if redis.call('HSETNX', page_key, op .. 's', '1') == 0 then
        return op .. pack('<BI7I7I7I7I7I7', 2, now, now, level1, 0, level2, 0)
      end
      local second = floor(now / 1000000) % 256
      local stale = (second - paged_at) % 256 >= page_s or now - ts >= page_s * 1000000
      if old_page ~= page or stale then
        redis.call('PEXPIRE', page_key, string.format('%d', page_ttl))
        if stale then old_page, paged_at = page, second end
      end
      local ttl1, ttl2 = ceil(settled1 / rate1) * tick1, ceil(settled2 / rate2) * tick2
      local ttl = ceil((ttl1 > ttl2 and ttl1 or ttl2) / 1000)
      redis.call('PSETEX', KEYS[1], string.format('%d', ttl > LEAST_TTL and ttl or LEAST_TTL),
        pack('<I2BBc4I7I4I4I4I4', old_page, paged_at, 2, epoch, now, settled1, refunded1, settled2, refunded2) .. layout)
      return op .. pack('<BI7I7I7I7I7I7', 1, now, now, settled1, credit1, settled2, credit2)
    end
  end
end
