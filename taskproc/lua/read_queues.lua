-- How many tasks queues have.
-- KEYS: meta
-- arg: queues (at most 1,000), tenants (at most so many of each fair queue)
-- returns: for each [ready, leased, delayed, dead, [tenant, ready…]]
local rows = {}
for number, queue in ipairs(arg.queues) do
  local turns = redis.call('ZRANGE', queue_key(queue, 'turns'), 0, arg.tenants - 1)
  local tenants = {}
  for _, tenant in ipairs(turns) do
    tenants[#tenants + 1] = tenant
    tenants[#tenants + 1] = redis.call('HGET', queue_key(queue), tenant)
  end
  rows[number] = {
    redis.call('HGET', queue_key(queue), '*') or '0',
    redis.call('ZCARD', queue_key(queue, 'leased')),
    redis.call('ZCARD', queue_key(queue, 'delayed')),
    redis.call('ZCARD', queue_key(queue, 'dead')),
    tenants,
  }
end
return rows
