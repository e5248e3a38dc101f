-- The part of the exchange that settles attempts: see there for its arguments.
local settled = {}
local seen = {}
local by_queue, by_token = {}, {} -- ids of accepted attempts

-- The task (state, token, queue, awaited, canceled) of an attempt that has its lease; false for any other.
local function accept(id, token)
  local task = redis.pcall('HMGET', task_key(id), 's', 'l', 'q', 'w', 'k') -- an error has no state
  if task[1] ~= 'l' or task[2] ~= token or not task[3] or seen[id] then
    return false
  end
  seen[id] = true
  is_canceled(counted_in(id, task[4])) -- looked up before anything is written
  append(by_queue, task[3], id)
  append(by_token, token, id)
  return task
end

local function release_leases()
  for queue, ids in pairs(by_queue) do
    call_many('ZREM', queue_key(queue, 'leased'), ids)
  end
  for token, ids in pairs(by_token) do
    call_many('SREM', P .. ':worker:' .. worker_of(token) .. ':tasks', ids)
  end
end

local settle = {}

local function with_this(attempts, settlement, outcome)
  local began = now - math.floor((settlement.us or 0) / 1000)
  return with_attempt(attempts, outcome, settlement.token, began, settlement)
end

function settle.retry(settlement, queue)
  local task = read_task(settlement.id, 't', 'f', 'a')
  local failures = (tonumber(task[2]) or 0) + 1
  local attempts = with_this(task[3], settlement, 'failed')
  put_back(settlement.id, queue, task[1], settlement.delay or 0, false, 'f', failures, 'a', attempts)
  return 'failed'
end

function settle.discard(settlement, _, awaited)
  count(counted_in(settlement.id, awaited), 'failed', 1)
  forget(settlement.id)
  return 'failed'
end

function settle.dead(settlement, queue, awaited)
  increment(settlement.id, 'f')
  local attempts = read_task(settlement.id, 'a')[1]
  redis.call('HSET', task_key(settlement.id), 'a', with_this(attempts, settlement, 'failed'))
  bury(settlement.id, queue, awaited, settlement)
  return 'failed'
end

function settle.release(settlement, queue)
  local task = read_task(settlement.id, 't', 'u', 'a')
  local attempts = with_this(task[3], settlement, 'released')
  if settlement.unknown then
    put_back(settlement.id, queue, task[1], settlement.delay, false, 'u', task[2] or now, 'a', attempts)
  else
    put_back(settlement.id, queue, task[1], 0, true, 'a', attempts)
  end
  return 'released'
end

local function settle_done(id, task, us)
  local batch = counted_in(id, task[4])
  count(batch, 'duration', us)
  if task[5] or is_canceled(batch) then
    end_canceled(id, task[4], task[5])
    return 'canceled'
  end
  count(batch, 'done', 1)
  forget(id)
  return 'done'
end

local function settle_other(settlement, task)
  count(counted_in(settlement.id, task[4]), 'duration', settlement.us or 0)
  if is_withdrawn(settlement.id, task[4], task[5]) then
    end_canceled(settlement.id, task[4], task[5])
    return 'canceled'
  end
  return settle[settlement.outcome](settlement, task[3], task[4])
end

local function settle_all()
  local done, others, tasks = arg.done, arg.others, {}
  local most = #done / 3
  for number = 1, most do
    tasks[number] = accept(done[3 * number - 2], done[3 * number - 1])
  end
  for number, settlement in ipairs(others) do
    tasks[most + number] = accept(settlement.id, settlement.token)
  end
  release_leases()
  for number = 1, most do
    settled[number] = tasks[number] and settle_done(done[3 * number - 2], tasks[number], done[3 * number]) or 'stale'
  end
  for number, settlement in ipairs(others) do
    settled[most + number] = tasks[most + number] and settle_other(settlement, tasks[most + number]) or 'stale'
  end
  finish()
end
