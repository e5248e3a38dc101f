-- Schedules that are due, or by id, or a page of a tenant's, or of all.
-- KEYS: meta, schedules
-- arg: due (boolean), or ids, or tenant?, skip; take (at most 1,000)
-- returns: now, the next instant of all ('' if there are none),
--   [[id, tenant, queue, scope, cron, timezone, seconds, unique, expire, next]…]
local function wanted()
  if arg.ids then
    return arg.ids
  elseif arg.due then
    return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, arg.take)
  end
  local index = arg.tenant and P .. ':schedules:' .. arg.tenant or KEYS[2]
  return redis.call('ZRANGE', index, arg.skip, arg.skip + arg.take - 1)
end

local rows = {}
for _, id in ipairs(wanted()) do
  local schedule = redis.call('HMGET', schedule_key(id),
    'tenant', 'queue', 'scope', 'cron', 'timezone', 'seconds', 'unique', 'expire', 'next')
  if schedule[1] then
    rows[#rows + 1] = { id, unpack(schedule, 1, 9) }
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
return { tostring(now), first or '', rows }
