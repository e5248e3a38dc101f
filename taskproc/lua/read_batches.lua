-- Batches by id, or a page of a tenant's, the newest first.
-- KEYS: meta
-- arg: ids, or tenant, skip, take (at most 1,000)
-- returns: [[id, tenant, scope, start, end, total, done, failed, canceled, duration, cancel]…]
local ids = arg.ids or redis.call('ZREVRANGE', P .. ':batches:' .. arg.tenant, arg.skip, arg.skip + arg.take - 1)
local rows = {}
for _, id in ipairs(ids) do
  local batch = read_hash(batch_key(id),
    'tenant', 'scope', 'start', 'end', 'total', 'done', 'failed', 'canceled', 'duration', 'cancel')
  if batch[1] then
    rows[#rows + 1] = { id, unpack(batch, 1, 10) }
  end
end
return rows
