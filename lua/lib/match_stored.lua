--[[
  match_stored(scope, layout, count) -> scope, or nil when all that was stored has drained

  The plan changed between reserve and settle. Settling must not change it back: the scope keeps what is stored, and
  `slots[i]` says where the i-th bucket of the caller lives in it. A bucket that has gone is made anew, empty.
]]
local function match_stored(scope, layout, count)
  local stored, numbers, by_tag, texts, slots, longest = stored_buckets(scope), {}, {}, {}, {}, 0
  if not stored then return nil end
  local specs = parse_specs(layout, 1, count)
  for _, bucket in ipairs(stored) do by_tag[bucket.tag] = bucket end
  for _, spec in ipairs(specs) do
    if not by_tag[spec.tag] then
      spec.level, spec.refunded, by_tag[spec.tag] = 0, 0, spec
      stored[#stored + 1] = spec
    end
  end
  for i, bucket in ipairs(stored) do
    bucket.index, texts[i] = 2 * i - 1, bucket.text
    numbers[2 * i - 1], numbers[2 * i] = bucket.level, bucket.refunded
  end
  for i, spec in ipairs(specs) do
    local bucket = by_tag[spec.tag]
    slots[i] = { index = bucket.index, same = bucket.text == spec.text, units = bucket.units, from = spec.units }
  end
  scope.numbers, scope.layout, scope.count, scope.slots, scope.stored = numbers, table.concat(texts), #stored, slots, stored
  return scope
end
