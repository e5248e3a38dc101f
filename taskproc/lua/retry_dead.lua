-- Makes dead tasks ready again, with their failures forgotten; those of canceled batches stay dead.
-- KEYS: meta
-- arg: ids, queue, tenant?, retries?, request (unique name of this request); ARGV[2]?: data to run with instead
-- returns: [ids that are ready again]; none when this request is repeated: they may have died again
local revived = {}

local function revive(id, tenant, awaited)
  local batch = counted_in(id, awaited)
  redis.call('ZREM', queue_key(arg.queue, 'dead'), id)
  redis.call('HDEL', task_key(id), 'f', 'o', 'u', 'died', 'error_type', 'error_message', 'traceback')
  redis.call('HSET', task_key(id), 's', 'r', 'r', now, unpack(arg.retries and { 'n', arg.retries } or {}))
  if ARGV[2] then
    redis.call('HSET', task_key(id), 'd', ARGV[2])
  end
  if batch and look_up(batch).exists then
    add_to(batch_key(batch), 'failed', -1)
    reopen(batch)
  end
  make_ready(arg.queue, tenant, id)
  revived[#revived + 1] = id
end

local function schedule_of(id)
  return id:match('^(.*):') or ''
end

-- A unique schedule has one task at a time: its dead one must not run beside a later cycle.
local function is_overtaken(id)
  local schedule = read_schedule(schedule_of(id))
  return schedule.task and schedule.task ~= id and is_busy(schedule)
end

if is_done(arg.request) then
  return {}
end
pass_memory_limit()
for _, id in ipairs(arg.ids) do
  local task = read_task(id, 's', 'q', 't', 'w', 'g', 'canceled')
  local wanted = task[1] == 'x' and task[2] == arg.queue and (not arg.tenant or task[3] == arg.tenant)
  if wanted and not task[6] and not is_canceled(counted_in(id, task[4])) and not (task[5] and is_overtaken(id)) then
    revive(id, task[3], task[4])
    if task[5] and read_schedule(schedule_of(id)).tenant then
      redis.call('HSET', schedule_key(schedule_of(id)), 'task', id)
    end
  end
end
finish()
if #revived > 0 then
  note_done(arg.request)
end
return revived
