-- Cancels batches whose producer died, or gave up, before they were whole.
-- KEYS: meta, open
-- arg: timeout (ms), limit
-- returns: '1' when there may be more
if nobody_can_be_blamed(arg.timeout) then
  return ''
end
local entries = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, arg.limit)
pass_memory_limit()
for _, entry in ipairs(entries) do
  local batch = entry:match('^[^/]+')
  local state = redis.call('HMGET', batch_key(batch), 'tenant', 'cancel')
  if state[1] and not state[2] then
    cancel(batch)
  end
  redis.call('ZREM', KEYS[2], entry)
end
finish()
return #entries == arg.limit and '1' or ''
