--[[
  settle_bucket(numbers, index, debt, bound) -> credit

  Charges `debt` units more than were reserved, or gives back -debt as far as that is safe. `bound` is the mark less
  the drain since; less the refunds given meanwhile it is a lower bound of every level since the reserve.
]]
local function settle_bucket(numbers, index, debt, bound)
  local level, refunded = numbers[index], numbers[index + 1]
  if debt >= 0 then
    numbers[index] = math.min(level + debt, 4503599627370496)
    return 0
  end
  local credit = math.max(0, math.min(-debt, bound - refunded, level))
  numbers[index], numbers[index + 1] = level - credit, refunded + credit
  return credit
end
