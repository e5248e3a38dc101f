-- Schedules: each cycle is a task of its own, whose id says of which schedule and instant it is.
local function schedule_key(id)
  return P .. ':schedule:' .. id
end

-- All schedules, as tenant:id, so that those of a tenant stand together.
local ALL_SCHEDULES = P .. ':schedules:all'

local SCHEDULE_FIELDS = {
  'tenant', 'queue', 'scope', 'cron', 'timezone', 'seconds', 'unique', 'expire', 'next',
  'call', 'data', 'topic', 'retries', 'invisibility', 'auto_extend', 'task', 'owner',
  'paused', 'last', 'started', 'outcome', 'ended',
}

local function read_schedule(id)
  local values = read_hash(schedule_key(id), unpack(SCHEDULE_FIELDS))
  local schedule = { id = id }
  for position, name in ipairs(SCHEDULE_FIELDS) do
    schedule[name] = values[position]
  end
  return schedule
end

-- Whether a schedule can be read and fired; one that is damaged is none, until it is upserted again.
local function is_whole(schedule)
  local has_texts = schedule.tenant and schedule.queue and schedule.scope and schedule.cron and schedule.timezone
    and schedule.call and schedule.data
  return has_texts and not find(schedule.id, '[^%w_.@|+=/-]')
    and whole(schedule.next) and whole(schedule.retries) and whole(schedule.invisibility)
    and not (schedule.expire and not whole(schedule.expire))
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
  redis.call('HSET', schedule_key(id), 'task', task_id, 'last', instant, 'started', now)
  redis.call('ZADD', P .. ':tenants', now, schedule.tenant)
  make_ready(schedule.queue, schedule.tenant, task_id)
  flush_ready()
end
