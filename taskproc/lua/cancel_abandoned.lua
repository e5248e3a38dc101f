-- Cancels batches whose producer died, or gave up, before they were whole.
-- KEYS: meta, open
-- arg: timeout (ms), keep (ms that a sign of a producer holds), limit
-- returns: '1' when there may be more
pass_memory_limit()
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], now + arg.keep + 1, '+inf', 'LIMIT', 0, arg.limit)) do
  redis.call('ZADD', KEYS[2], now + arg.keep, entry) -- Redis's clock was put back
end
local spared, began = nobody_can_be_blamed(arg.timeout)
if spared or now < began + arg.keep then
  return ''
end
local entries = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, arg.limit)
for _, entry in ipairs(entries) do
  local batch = entry:match('^[^/]+')
  local state = read_hash(batch_key(batch), 'tenant', 'cancel')
  if state[1] and not state[2] then
    cancel(batch)
  end
  redis.call('ZREM', KEYS[2], entry)
end
finish()
return #entries == arg.limit and '1' or ''
