--[[
  open_scope(raw, layout, count, terms, stride, now, skew, fresh, page_s) -> scope, or nil and a half-open scope

  Reads one stored scope and drains it to `now`. `terms` holds `stride` numbers per bucket, of which the last two
  are the rate (units per tick) and the tick (us). A scope is a table:

    epoch    4 bytes, new (`fresh`) whenever refunds promised before must no longer be paid
    at       us, never earlier than the stored time unless the clock jumped back by more than `skew`
    numbers  level and refunds given so far, in units, bucket after bucket
    layout   the bucket specs as stored, `count` of them
    page, paged_at   page of the operation log that was last given a TTL, and when (s, mod 256); 65535 is none, as
                     when that was longer ago than a page is long (`page_s`)
    reanchored   true after a jump back of the clock: must be stored even by a refusal, or refill would stall

  When the stored specs are not those of the caller (a plan change), the first result is nil and the second holds
  what was read, undrained, for lib/stored_buckets.lua. A scope that has drained is the same as none, whether its key
  has expired by now or not.

  Draining compares before it subtracts, so a product beyond 2^53 is harmless: it is surely above the level.
]]
local function open_scope(raw, layout, count, terms, stride, now, skew, fresh, page_s)
  local numbers
  if not raw then
    numbers = {}
    for i = 1, 2 * count do numbers[i] = 0 end
    return {
      epoch = fresh, at = now, numbers = numbers, layout = layout, count = count,
      page = 65535, paged_at = 0, created = true,
    }
  end
  local page, paged_at, shape, epoch, ts = struct.unpack('<I2BBc4I7', raw)
  local floor, kept, clock_now, alive = math.floor, true, now, false
  -- Forgotten before the seconds come round, or a page that has gone would one day pass for one with a TTL.
  if (floor(now / 1000000) - paged_at) % 256 >= page_s or now - ts >= page_s * 1000000 then page = 65535 end
  if now < ts then
    if ts - now <= skew then
      now = ts
    else
      ts, epoch, kept = now, fresh, false
    end
  end
  local pair, bytes = 'I4I4', 8
  if shape > 127 then pair, bytes, shape = 'I7I7', 14, shape - 128 end
  local scope = {
    epoch = epoch, at = now, layout = layout, count = shape, page = page, paged_at = paged_at,
    reanchored = not kept,
  }
  if shape ~= count or string.sub(raw, 16 + bytes * count) ~= layout then
    scope.raw, scope.pair, scope.specs_at, scope.ts, scope.kept = raw, pair, 16 + bytes * shape, ts, kept
    return nil, scope
  end
  numbers = { struct.unpack('<' .. string.rep(pair, count), raw, 16) }
  for i = 1, count do
    local rate, tick = terms[i * stride - 1], terms[i * stride]
    local drained = (tick == 1 and now - ts or floor(now / tick) - floor(ts / tick)) * rate
    local level = numbers[2 * i - 1]
    if drained < level then
      numbers[2 * i - 1], alive = level - drained, true
    else
      numbers[2 * i - 1] = 0
    end
    if not kept then numbers[2 * i] = 0 end
  end
  if not alive then return open_scope(false, layout, count, terms, stride, clock_now, skew, fresh, page_s) end
  scope.numbers = numbers
  return scope
end
