-- Schedules: each cycle is a task of its own, whose id says of which schedule and instant it is.
local function schedule_key(id)
  return P .. ':schedule:' .. id
end

-- All schedules, as tenant:id, so that those of a tenant stand together.
local ALL_SCHEDULES = P .. ':schedules:all'

-- The settings of a schedule's tasks, as they stand in its record.
local TASK_FIELDS = {
  'queue', 'tenant', 'call', 'data', 'topic', 'retries', 'invisibility', 'auto_extend', 'scope', 'unique', 'task',
}

local function read_schedule(id)
  local values = redis.call('HMGET', schedule_key(id), unpack(TASK_FIELDS))
  local schedule = {}
  for position, name in ipairs(TASK_FIELDS) do
    schedule[name] = values[position]
  end
  return schedule
end

-- Whether the task of an earlier cycle of a unique schedule has not ended.
local function is_busy(schedule)
  local state = schedule.unique and schedule.task and read_task(schedule.task, 's')[1]
  return state and (state ~= 'x' or arg.dead_is_busy)
end

-- Enqueues the task of one cycle; `not_after`: when it is too late to fetch it.
local function start_cycle(id, schedule, task_id, instant, not_after)
  write_task(task_id, {
    q = schedule.queue, t = schedule.tenant, c = schedule.call, p = schedule.topic or nil, n = schedule.retries,
    i = schedule.invisibility, x = schedule.auto_extend or nil, m = instant, g = schedule.unique or nil, v = not_after,
    b = schedule.scope,
  }, schedule.data, 'r')
  redis.call('HSET', schedule_key(id), 'task', task_id)
  redis.call('ZADD', P .. ':tenants', now, schedule.tenant)
  make_ready(schedule.queue, schedule.tenant, task_id)
  flush_ready()
end
