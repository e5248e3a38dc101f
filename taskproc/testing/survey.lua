-- What is left to do, seen at one instant.
-- KEYS: meta, queues, schedules, ended
-- arg: queues? (else all), within, retention (ms)
-- returns: [[queue, ready, running, due now or within that time]…], [ids of up to ten due schedules],
--   how many ended batches are past their retention; of what is due or past, a thousand at most is counted
local function due(key, by)
  return #redis.call('ZRANGEBYSCORE', key, '-inf', by, 'LIMIT', 0, 1000)
end

local function row_of(queue)
  local key = P .. ':queue:' .. queue
  return {
    queue,
    tonumber(redis.call('HGET', key, '*')) or 0,
    redis.call('ZCARD', key .. ':leased'),
    due(key .. ':delayed', now + arg.within),
  }
end

local rows = {}
for position, queue in ipairs(arg.queues or redis.call('SMEMBERS', KEYS[2])) do
  rows[position] = row_of(queue)
end
return {
  rows,
  redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 10),
  due(KEYS[4], now - arg.retention),
}
