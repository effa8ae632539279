--[[
  A settle inside express.lua, on its locals; see lib/settle_pair.lua. Leaves the answer that it is not ordinary where a
  number needs more than four bytes, or where the page is not ours to write to.
]]
local operation, op_page, mark_epoch, since, reserved1, actual1, mark1, reserved2, actual2, mark2 =
  unpack('<c8I2I4I8I4I4I8I4I4I8', operations, at + 1)
local debt1, debt2, bound1, bound2 = actual1 - reserved1, actual2 - reserved2, 0, 0
if epoch == mark_epoch then
  bound1 = mark1 - refunded1 - (now - since) * rate1
  bound2 = mark2 - refunded2 - (now - since) * rate2
end
--- @include "lib/credit_pair.lua"
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
