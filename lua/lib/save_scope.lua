--[[
  save_scope(key, scope, wide, now)

  Stores a scope for exactly as long as it means something: until its slowest bucket has drained. Beyond that a
  missing key says the same. `scope.terms` and `scope.stride` are those of open_scope. After a plan change they do
  not cover every bucket: then `scope.stored` lists all buckets in place of them, or `scope.longest` (us) is the
  drain time of the rest.
]]
local function save_scope(key, scope, wide, now)
  local numbers, count, terms, stride, ceil = scope.numbers, scope.count, scope.terms, scope.stride, math.ceil
  local longest = scope.longest or 0
  for i = 1, scope.stored and #scope.stored or #terms / stride do
    local bucket = scope.stored and scope.stored[i]
    local rate, tick = terms[i * stride - 1], terms[i * stride]
    if bucket then rate, tick = bucket.rate, bucket.tick end
    local drain = ceil(numbers[2 * i - 1] / rate) * tick
    if drain > longest then longest = drain end
  end
  local ttl = ceil((longest + scope.at - now) / 1000)
  local value = struct.pack('<I2BBc4I7', scope.page, scope.paged_at, wide and count + 128 or count, scope.epoch, scope.at)
    .. struct.pack('<' .. string.rep(wide and 'I7I7' or 'I4I4', count), unpack(numbers, 1, 2 * count))
    .. scope.layout
  redis.call('PSETEX', key, string.format('%d', ttl > LEAST_TTL and ttl or LEAST_TTL), value)
end
