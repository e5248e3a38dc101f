-- What is left to do, seen at one instant.
-- KEYS: meta, queues, schedules, ended
-- arg: queues? (else all), within, retention (ms)
-- returns: [[queue, ready, running, due now or within that time]…], [ids of up to ten due schedules],
--   how many ended batches are past their retention
local function row_of(queue)
  local key = P .. ':queue:' .. queue
  return {
    queue,
    tonumber(redis.call('HGET', key, '*')) or 0,
    redis.call('ZCARD', key .. ':leased'),
    redis.call('ZCOUNT', key .. ':delayed', '-inf', now + arg.within),
  }
end

local rows = {}
for position, queue in ipairs(arg.queues or redis.call('SMEMBERS', KEYS[2])) do
  rows[position] = row_of(queue)
end
return {
  rows,
  redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 10),
  redis.call('ZCOUNT', KEYS[4], '-inf', now - arg.retention),
}
