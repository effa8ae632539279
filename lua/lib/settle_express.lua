--[[
  A settle inside express.lua, on its locals: see lib/settle_pair.lua, whose arithmetic this is. Leaves the answer that
  it is not ordinary where a number needs more than four bytes, or where the page is not ours to write to.
]]
local operation, op_page, mark_epoch, since, reserved1, actual1, mark1, reserved2, actual2, mark2 =
  unpack('<c8I2I4I8I4I4I8I4I4I8', operations, at + 1)
local credit1, credit2, debt1, debt2 = 0, 0, actual1 - reserved1, actual2 - reserved2
local same = epoch == mark_epoch
if debt1 < 0 then
  local bound = same and mark1 - refunded1 - (now - since) * rate1 or 0
  credit1 = -debt1 < bound and -debt1 or bound
  if credit1 > level1 then credit1 = level1 end
  if credit1 < 0 then credit1 = 0 end
  debt1 = -credit1
end
if debt2 < 0 then
  local bound = same and mark2 - refunded2 - (now - since) * rate2 or 0
  credit2 = -debt2 < bound and -debt2 or bound
  if credit2 > level2 then credit2 = level2 end
  if credit2 < 0 then credit2 = 0 end
  debt2 = -credit2
end
local settled1, settled2, given1, given2 = level1 + debt1, level2 + debt2, refunded1 + credit1, refunded2 + credit2
if mark1 <= 2 * LEVEL_MAX and mark2 <= 2 * LEVEL_MAX and since <= 2 * LEVEL_MAX
  and settled1 < NARROW and settled2 < NARROW and given1 < NARROW and given2 < NARROW then
  local page_key = KEYS[k]
  local recorded = pcall_('HSETNX', page_key, operation .. 's', '1')
  if recorded == 0 then
    replies[n] = pack('<BI4I4I4I4I4', 3, epoch, level1, 0, level2, 0)
  elseif recorded == 1 then
    if page ~= op_page then
      call('PEXPIRE', page_key, string.format('%d', page_ttl))
      page, paged_at = op_page, second
    end
    replies[n] = pack('<BI4I4I4I4I4', 2, epoch, settled1, credit1, settled2, credit2)
    changed = changed or level1 + level2 + settled1 + settled2 > 0
    level1, level2, refunded1, refunded2 = settled1, settled2, given1, given2
  end
end
