--[[
  The refund rule for two buckets, on the locals of an express lane: of a debt below nothing (real less reserved), as
  much is given back as the bound and the level allow. Leaves credit1, credit2, and the debts as they are charged.
]]
local credit1, credit2 = 0, 0
if debt1 < 0 then
  credit1 = -debt1 < bound1 and -debt1 or bound1
  if credit1 > level1 then credit1 = level1 end
  if credit1 < 0 then credit1 = 0 end
  debt1 = -credit1
end
if debt2 < 0 then
  credit2 = -debt2 < bound2 and -debt2 or bound2
  if credit2 > level2 then credit2 = level2 end
  if credit2 < 0 then credit2 = 0 end
  debt2 = -credit2
end
