--[[
  parse_specs(text, from, count) -> list of { tag, units, rate, tick, text }
  stored_buckets(scope) -> the same list for what the scope stores, each with `level` (drained) and `refunded`, or nil
  when all of it has drained
  convert_level(level, from_units, to_units) -> the same use of the limit in another plan's units, rounded up

  Cold: only included where a plan has changed under a subject. A spec is
  tag (3 bytes), sizes (1 byte: tick code * 64 + bytes of units * 8 + bytes of rate), units, rate (none means 1).
]]
local function parse_specs(text, from, count)
  local specs, ticks = {}, { 1, 1000, 1000000 }
  for i = 1, count do
    local start = from
    local tag, sizes = struct.unpack('<c3B', text, from)
    local tick, wide, rate = ticks[math.floor(sizes / 64) + 1], math.floor(sizes / 8) % 8, 1
    local units = struct.unpack('<I' .. wide, text, from + 4)
    from = from + 4 + wide
    if sizes % 8 > 0 then
      rate = struct.unpack('<I' .. sizes % 8, text, from)
      from = from + sizes % 8
    end
    specs[i] = { tag = tag, units = units, rate = rate, tick = tick, text = string.sub(text, start, from - 1) }
  end
  return specs
end

local function stored_buckets(scope)
  local buckets = parse_specs(scope.raw, scope.specs_at, scope.count)
  local numbers = { struct.unpack('<' .. string.rep(scope.pair, scope.count), scope.raw, 16) }
  local alive = false
  for i, bucket in ipairs(buckets) do
    local ticks = math.floor(scope.at / bucket.tick) - math.floor(scope.ts / bucket.tick)
    bucket.level = math.max(0, numbers[2 * i - 1] - ticks * bucket.rate)
    bucket.refunded = scope.kept and numbers[2 * i] or 0
    alive = alive or bucket.level > 0
  end
  return alive and buckets or nil
end

local function convert_level(level, from_units, to_units)
  local whole = math.floor(level / from_units)
  local part = (level - whole * from_units) * to_units
  -- Beyond 2^53 the product is no longer exact: round the fraction up to a whole token instead.
  part = part >= 9007199254740992 and to_units or math.ceil(part / from_units)
  return math.min(whole * to_units + part, 4503599627370496)
end
