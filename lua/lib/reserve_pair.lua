--[[
  The express lane of reserve: one scope with two narrow buckets (requests and tokens per minute), no plan change, no
  clock step. Falls through to the general code with nothing written otherwise. It says the same as that code without
  a table or a function call, in half the instructions; tests/promises drives both.
]]
if #KEYS == 2 and #ARGV[4] == 48 then
  local unpack, pack, floor, ceil = struct.unpack, struct.pack, math.floor, math.ceil
  local layout = ARGV[3]
  local cost1, capacity1, rate1, tick1, cost2, capacity2, rate2, tick2 = unpack('<I7I7I7I3I7I7I7I3', ARGV[4])
  local raw, express = redis.call('GET', KEYS[1]), cost1 <= LEVEL_MAX and cost2 <= LEVEL_MAX and rate1 > 0
    and rate2 > 0 and rate1 <= LEVEL_MAX and rate2 <= LEVEL_MAX and tick1 > 0 and tick2 > 0
    and capacity1 <= LEVEL_MAX and capacity2 <= LEVEL_MAX
  local old_page, paged_at, epoch, ts, level1, refunded1, level2, refunded2 = 65535, 0, nil, now, 0, 0, 0, 0
  if raw and express then
    express = #raw == 31 + #layout and string.sub(raw, 32) == layout
    if express then
      local shape
      old_page, paged_at, shape, epoch, ts, level1, refunded1, level2, refunded2 = unpack('<I2BBc4I7I4I4I4I4', raw)
      express = shape == 2 and now >= ts
      local drained1 = (tick1 == 1 and now - ts or floor(now / tick1) - floor(ts / tick1)) * rate1
      local drained2 = (tick2 == 1 and now - ts or floor(now / tick2) - floor(ts / tick2)) * rate2
      level1 = drained1 < level1 and level1 - drained1 or 0
      level2 = drained2 < level2 and level2 - drained2 or 0
    end
  end
  if level1 == 0 and level2 == 0 then
    epoch, refunded1, refunded2 = string.sub(op, 1, 4), 0, 0
  end
  local charged1, charged2 = level1 + cost1, level2 + cost2
  if express and charged1 < NARROW and charged2 < NARROW then
    if charged1 > capacity1 and cost1 > 0 or charged2 > capacity2 and cost2 > 0 then
      local known = redis.call('HGET', page_key, op)
      if known then return op .. pack('<BI7', 1, now) .. known end
      return op .. pack('<BI7c4I7I4I4I4I4', 0, now, epoch, now, level1, refunded1, level2, refunded2)
    end
    local record = pack('<c4I7I4I4I4I4', epoch, now, charged1, refunded1, charged2, refunded2)
    if redis.call('HSETNX', page_key, op, record) == 0 then
      return op .. pack('<BI7', 1, now) .. redis.call('HGET', page_key, op)
    end
    local second = floor(now / 1000000) % 256
    if old_page ~= page or (second - paged_at) % 256 >= page_s or now - ts >= page_s * 1000000 then
      redis.call('PEXPIRE', page_key, string.format('%d', page_ttl))
      paged_at = second
    end
    local ttl1, ttl2 = ceil(charged1 / rate1) * tick1, ceil(charged2 / rate2) * tick2
    local ttl = ceil((ttl1 > ttl2 and ttl1 or ttl2) / 1000)
    redis.call('PSETEX', KEYS[1], string.format('%d', ttl > LEAST_TTL and ttl or LEAST_TTL),
      pack('<I2BB', page, paged_at, 2) .. record .. layout)
    return op .. pack('<BI7', 1, now) .. record
  end
end
