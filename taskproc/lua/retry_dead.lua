-- Makes dead tasks ready again, with their failures forgotten; those of canceled batches stay dead.
-- KEYS: meta
-- arg: ids, queue, tenant?, retries?
-- returns: [ids that are ready again]
local revived = {}

local function revive(id, tenant, awaited)
  local batch = counted_in(id, awaited)
  redis.call('ZREM', queue_key(arg.queue, 'dead'), id)
  redis.call('HDEL', task_key(id), 'f', 'o', 'u', 'died', 'error_type', 'error_message', 'traceback')
  redis.call('HSET', task_key(id), 's', 'r', unpack(arg.retries and { 'n', arg.retries } or {}))
  if batch and look_up(batch).exists then
    redis.call('HINCRBY', batch_key(batch), 'failed', -1)
    reopen(batch)
  end
  make_ready(arg.queue, tenant, id)
  revived[#revived + 1] = id
end

-- A unique schedule has one task at a time: its dead one must not run beside a later cycle.
local function is_overtaken(id)
  local schedule = read_schedule(id:match('^(.*):'))
  return schedule.task and schedule.task ~= id and is_busy(schedule)
end

pass_memory_limit()
for _, id in ipairs(arg.ids) do
  local task = read_task(id, 's', 'q', 't', 'w', 'g')
  local wanted = task[1] == 'x' and task[2] == arg.queue and (not arg.tenant or task[3] == arg.tenant)
  if wanted and not is_canceled(counted_in(id, task[4])) and not (task[5] and is_overtaken(id)) then
    revive(id, task[3], task[4])
    if task[5] and redis.call('EXISTS', schedule_key(id:match('^(.*):'))) == 1 then
      redis.call('HSET', schedule_key(id:match('^(.*):')), 'task', id)
    end
  end
end
finish()
return revived
