-- How many tasks queues have.
-- KEYS: meta
-- arg: queues (at most 1,000), tenants (at most so many of each fair queue)
-- returns: for each [ready, leased, delayed, dead, [tenant, ready…], since when the next in line is ready (0: none),
--   '1' if it is paused]
local MOST_LANES = 20 -- of a fair queue, whose heads are looked at
local MOST_TOMBSTONES = 20

local function ready_since(list)
  for _, id in ipairs(redis.call('LRANGE', list, 0, MOST_TOMBSTONES)) do
    local task = read_task(id, 's', 'r', 'e')
    if task[1] == 'r' then
      return whole(task[2]) or whole(task[3])
    end
  end
end

local function oldest(queue, tenants)
  if not is_fair(queue) then
    return ready_since(ready_key(queue))
  end
  local first
  for position = 1, math.min(#tenants, MOST_LANES) do
    local since = ready_since(ready_key(queue, tenants[position]))
    first = since and (not first or since < first) and since or first
  end
  return first
end

local rows = {}
for number, queue in ipairs(arg.queues) do
  local turns = is_fair(queue) and redis.call('ZRANGE', queue_key(queue, 'turns'), 0, arg.tenants - 1) or {}
  local of_each, tenants = #turns > 0 and redis.call('HMGET', queue_key(queue), unpack(turns)) or {}, {}
  for position, tenant in ipairs(turns) do
    tenants[2 * position - 1], tenants[2 * position] = tenant, of_each[position]
  end
  rows[number] = {
    redis.call('HGET', queue_key(queue), '*') or '0',
    redis.call('ZCARD', queue_key(queue, 'leased')),
    redis.call('ZCARD', queue_key(queue, 'delayed')),
    redis.call('ZCARD', queue_key(queue, 'dead')),
    tenants,
    string.format('%.0f', oldest(queue, turns) or 0),
    is_paused('queue:' .. queue) and '1' or '',
  }
end
return rows
