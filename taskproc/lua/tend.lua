-- Looks after queues: due tasks become ready, and attempts whose lease ran out without a word of their worker have
-- failed; pauses whose time is over end.
-- KEYS: meta
-- arg: queues, timeout (ms), deadletter, deadletter_unique, limit (of tasks)
-- returns: '1' when there is more to do
local GRACE = 2000 -- ms after the lease's end, in which its worker reports the failure itself
local room = arg.limit

local OVERDUE = {
  type = 'TaskTimeoutError', message = 'it ran longer than its invisibility, and its worker did not end it',
  traceback = '',
}

local function overdue(id, queue, tenant, awaited, token, began)
  local failures = increment(id, 'f')
  local task = read_task(id, 'n', 'g', 'a')
  redis.call('HSET', task_key(id), 'a', with_attempt(task[3], 'failed', token, began, OVERDUE))
  if failures < (tonumber(task[1]) or 0) then
    put_back(id, queue, tenant, 0, false)
  elseif arg.deadletter and (arg.deadletter_unique or not task[2]) then
    bury(id, queue, awaited, OVERDUE)
  else
    count(counted_in(id, awaited), 'failed', 1)
    forget(id)
  end
end

-- What was leased before `began` gets its whole length from then: Redis was away, or its clock was put forward, and
-- only its worker knows how long it has run.
local function end_overdue(queue, began)
  local key = queue_key(queue, 'leased')
  local ids = redis.call('ZRANGEBYSCORE', key, '-inf', now - GRACE, 'LIMIT', 0, room)
  for _, id in ipairs(ids) do
    local task = read_task(id, 'l', 'i')
    local worker, ends = worker_of(task[1] or ''), began + (whole(task[2]) or 0)
    if worker and ends > now - GRACE then
      redis.call('ZADD', key, ends, id)
    else
      if worker then
        revoke(id, worker, overdue)
      end
      redis.call('ZREM', key, id)
    end
  end
  room = room - #ids
end

local function start_due(queue)
  local ids = redis.call('ZRANGEBYSCORE', queue_key(queue, 'delayed'), '-inf', now, 'LIMIT', 0, room)
  end_delays(queue, ids)
  room = room - #ids
end

pass_memory_limit()
if is_pausing() then
  end_lapsed()
end
local spared, began = nobody_can_be_blamed(arg.timeout)
for _, queue in ipairs(arg.queues) do
  start_due(queue)
  if not spared then
    end_overdue(queue, began)
  end
end
finish()
return room == 0 and '1' or ''
