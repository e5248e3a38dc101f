-- Lets attempts run longer, never shorter.
-- KEYS: meta
-- arg: leases: [{id, token, ms}] (ms from now)
-- returns: for each '1', or '' when the lease is lost
local held = {}
pass_memory_limit()
for number, lease in ipairs(arg.leases) do
  local task = read_task(lease.id, 's', 'l', 'q', 'i', 'h')
  held[number] = ''
  if task[1] == 'l' and task[2] == lease.token and task[3] then
    if not task[5] then
      local ends = redis.call('ZSCORE', queue_key(task[3], 'leased'), lease.id)
      redis.call('HSET', task_key(lease.id), 'h', (tonumber(ends) or now) - (whole(task[4]) or 0))
    end
    redis.call('ZADD', queue_key(task[3], 'leased'), 'XX', 'GT', now + lease.ms, lease.id)
    held[number] = '1'
  end
end
return held
