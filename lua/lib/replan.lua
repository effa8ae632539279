--[[
  replan(scope, layout, count, fresh) -> scope, or nil when all that was stored has drained

  A plan has changed under a subject: arranges what is stored as the caller's buckets, keeping the use of each limit
  in tokens. Buckets that the new plan does not name stay behind them until they have drained.
  Refunds promised under other numbers would no longer be bounded, so the epoch changes with any of them.
]]
local function replan(scope, layout, count, fresh)
  local by_tag, numbers, tail, longest, kept = {}, {}, {}, 0, scope.kept
  local stored = stored_buckets(scope)
  if not stored then return nil end
  for _, bucket in ipairs(stored) do by_tag[bucket.tag] = bucket end
  for i, spec in ipairs(parse_specs(layout, 1, count)) do
    local old = by_tag[spec.tag]
    by_tag[spec.tag] = nil
    local level, refunded = 0, 0
    if old then
      level, refunded = old.level, old.refunded
      if old.text ~= spec.text then
        level, kept = convert_level(level, old.units, spec.units), false
      end
    end
    numbers[2 * i - 1], numbers[2 * i] = level, refunded
  end
  for _, old in ipairs(stored) do
    if by_tag[old.tag] and old.level == 0 then
      kept = false
    elseif by_tag[old.tag] then
      tail[#tail + 1] = old.text
      numbers[#numbers + 1], numbers[#numbers + 2] = old.level, old.refunded
      longest = math.max(longest, math.ceil(old.level / old.rate) * old.tick)
    end
  end
  if not kept then
    scope.epoch = fresh
    for i = 2, #numbers, 2 do numbers[i] = 0 end
  end
  scope.numbers, scope.layout, scope.count, scope.longest = numbers, layout .. table.concat(tail), #numbers / 2, longest
  return scope
end
