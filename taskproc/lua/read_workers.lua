-- Workers and what they hold.
-- KEYS: meta, workers
-- arg: limit
-- returns: [[id, alive until, running, host, pid, since, queues, slots, version, seen, lag, drain]…]
local rows = {}
local found = redis.call('ZRANGE', KEYS[2], 0, arg.limit - 1, 'WITHSCORES')
for position = 1, #found, 2 do
  local key = P .. ':worker:' .. found[position]
  local about = redis.call('HMGET', key, 'host', 'pid', 'since', 'queues', 'slots', 'version', 'seen', 'lag', 'drain')
  if about[1] then
    local running = redis.call('SCARD', key .. ':tasks')
    rows[#rows + 1] = { found[position], found[position + 1], running, unpack(about, 1, 9) }
  end
end
return rows
