-- Removes ended batches past their retention, tenants that have had nothing for as long, and old requests.
-- KEYS: meta, ended, tenants
-- arg: retention (ms), limit
-- returns: '1' when there is more to do
local function remove(batch)
  local tenant = read_hash(batch_key(batch), 'tenant')[1]
  for _, id in ipairs(redis.pcall('LRANGE', batch_key(batch, 'then'), 0, 999)) do -- damaged, it is gone over
    redis.call('UNLINK', task_key(id))
  end
  redis.call('UNLINK', batch_key(batch), batch_key(batch, 'chunks'), batch_key(batch, 'then'))
  if tenant then
    redis.call('ZREM', P .. ':batches:' .. tenant, batch)
  end
  redis.call('ZREM', KEYS[2], batch)
end

pass_memory_limit()
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - arg.retention, 'LIMIT', 0, arg.limit)
for _, batch in ipairs(expired) do
  remove(batch)
end
local silent = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - arg.retention, 'LIMIT', 0, arg.limit)
for _, tenant in ipairs(silent) do
  local schedules = redis.call('ZLEXCOUNT', ALL_SCHEDULES, '[' .. tenant .. ':', '(' .. tenant .. ';')
  if schedules > 0 or redis.call('EXISTS', P .. ':batches:' .. tenant) == 1 then
    redis.call('ZADD', KEYS[3], now, tenant)
  else
    redis.call('ZREM', KEYS[3], tenant)
  end
end
local more = forget_done()
return (more or #expired == arg.limit or #silent == arg.limit) and '1' or ''
