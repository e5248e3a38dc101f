-- Settles attempts that have ended, then leases as many ready tasks as the worker has free slots.
-- KEYS: meta, workers
-- arg: request: {worker, nonce (0: only settle), known (nonce of the last answer), slots, queues, max_recoveries},
--   done: [id, token, us (run time) of each],
--   others: [{id, token, outcome, us, delay? (ms), type?, message?, traceback?, unknown?}]
--   outcome: retry | dead | discard | release
-- returns: status ('ok', 'paused', 'gone': the worker is not known (any more), 'silent': it has not beaten in time,
--   'late': overtaken by a later exchange or a resync, 'rewound': Redis has lost an exchange that it had answered),
--   now, [the next due time of each queue, or ''], '1' if there may be more, [settled as of each done, then of
--   each other], [record, data of each task]; a record is a MessagePack map of its fields, with the scope of its batch
--   settled as: done | failed | canceled | released | stale
local MOST_SKIPPED = 1000
local MOST_DUE = 200

-- Settling -----------------------------------------------------------------------------------------------------------

local request = arg.request
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

function settle.retry(settlement, queue)
  local task = read_task(settlement.id, 't', 'f')
  local failures = (tonumber(task[2]) or 0) + 1
  put_back(settlement.id, queue, task[1], settlement.delay or 0, false, 'f', failures)
  return 'failed'
end

function settle.discard(settlement, _, awaited)
  count(counted_in(settlement.id, awaited), 'failed', 1)
  forget(settlement.id)
  return 'failed'
end

function settle.dead(settlement, queue, awaited)
  increment(settlement.id, 'f')
  bury(settlement.id, queue, awaited, settlement)
  return 'failed'
end

function settle.release(settlement, queue)
  local task = read_task(settlement.id, 't', 'u')
  if settlement.unknown then
    put_back(settlement.id, queue, task[1], settlement.delay, false, 'u', task[2] or now)
  else
    put_back(settlement.id, queue, task[1], 0, true)
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

-- Fetching -----------------------------------------------------------------------------------------------------------

local fetched = {}
local room = MOST_TOLD
local token = request.worker .. ':' .. string.format('%.0f', request.nonce)

-- When a lease ends that begins now; written out once for each length, of which there are few.
local ends = {}
local function end_of_lease(length)
  ends[length] = ends[length] or string.format('%.0f', now + length)
  return ends[length]
end

local function lease(task, batch)
  redis.call('HSET', task_key(task.id), 's', 'l', 'l', token)
  if task.v then
    redis.call('HDEL', task_key(task.id), 'v') -- it was fetched in time
  end
  room = room - tell(fetched, task, batch)
end

local function note_leases(queue, deadlines, held)
  call_many('ZADD', queue_key(queue, 'leased'), deadlines)
  call_many('SADD', P .. ':worker:' .. request.worker .. ':tasks', held)
end

-- A task whose next take-back from a dead worker would be its last may be what kills them: a worker gets one such task
-- at a time, so that no innocent one dies with it.
local function may_kill(recoveries)
  return (tonumber(recoveries) or 0) >= math.max(request.max_recoveries - 1, 1)
end

local function must_wait(id, recoveries)
  if not may_kill(recoveries) then
    return false
  end
  local other = redis.call('HGET', P .. ':worker:' .. request.worker, 'suspect')
  local held = other and read_task(other, 's', 'l', 'o')
  if held and held[1] == 'l' and worker_of(held[2]) == request.worker and may_kill(held[3]) then
    return true
  end
  redis.call('HSET', P .. ':worker:' .. request.worker, 'suspect', id)
  return false
end

-- What is to become of a task that stands in the list as ready.
local function kind_of(task, queue, batch)
  if not is_sound(task, queue) then
    return 'unsound'
  elseif batch and not task.w and look_up(batch).canceled then
    return 'canceled'
  elseif task.v and now > tonumber(task.v) then
    return 'expired'
  elseif must_wait(task.id, task.o) then
    return 'suspect'
  end
  return 'live'
end

local drop = {}

function drop.canceled(id, _, awaited)
  end_canceled(id, awaited)
end

function drop.expired(id)
  forget(id)
end

function drop.unsound(id, queue, awaited)
  bury(id, queue, awaited, DAMAGED)
end

-- Takes up to `want` ids off the head of a list while there is room to tell of them, passing over tombstones and what
-- stands there twice; returns how many were looked at, how many of them leased, and the last one that had to go to the
-- end of the list.
local looked_at = {}
local function take(queue, tenant, want)
  local list = ready_key(queue, tenant)
  local ids = redis.call('LRANGE', list, 0, want - 1)
  local deadlines, held, dropped_here, suspects, looked = {}, {}, 0, {}, #ids
  for position, id in ipairs(ids) do
    local task = read_record(id)
    if task.s == 'r' and not looked_at[id] then
      looked_at[id] = true
      local batch = batch_of(id)
      local kind = kind_of(task, queue, batch)
      if kind == 'live' then
        deadlines[#deadlines + 1] = end_of_lease(task.i)
        deadlines[#deadlines + 1] = id
        held[#held + 1] = id
        lease(task, batch)
      elseif kind == 'suspect' then
        suspects[#suspects + 1] = id
      else
        drop[kind](id, queue, task.w)
        dropped_here = dropped_here + 1
      end
      if room <= 0 then
        looked = position
        break
      end
    end
  end
  note_leases(queue, deadlines, held)
  if looked > 0 then
    redis.call('LPOP', list, looked)
  end
  call_many('RPUSH', list, suspects)
  for _, id in ipairs(suspects) do
    looked_at[id] = nil
  end
  if #held + dropped_here > 0 then
    uncount_ready(queue, tenant, #held + dropped_here)
  end
  return looked, #held, suspects[#suspects]
end

local function fetch_in_order(queue, want)
  local length = redis.call('LLEN', ready_key(queue))
  local most = math.min(length, want + MOST_SKIPPED)
  local looked = 0
  while want > 0 and room > 0 and looked < most do
    local seen_now, leased = take(queue, nil, math.min(want, most - looked))
    if seen_now == 0 then
      break
    end
    looked = looked + seen_now
    want = want - leased
  end
  if redis.call('EXISTS', ready_key(queue)) == 0 then
    empty_queue(queue)
  end
  return want, want > 0 and most < length
end

-- One of each tenant in turn, until there are none but suspects. A tenant whose task was canceled keeps its turn.
local function fetch_in_turn(queue, want)
  local looked, suspects, waiting = 0, {}, 0
  while want > 0 and room > 0 and looked < MOST_SKIPPED do
    local tenant = redis.call('ZRANGE', queue_key(queue, 'turns'), 0, 0)[1]
    if not tenant then
      empty_queue(queue)
      return want, false
    end
    local seen_now, leased, passed = take(queue, tenant, 1)
    if seen_now == 0 then
      uncount_ready(queue, tenant, redis.call('HGET', queue_key(queue), tenant) or 0)
    elseif (leased > 0 or passed) and redis.call('ZSCORE', queue_key(queue, 'turns'), tenant) then
      take_turn(queue, tenant)
    end
    if passed then
      waiting = waiting + (suspects[passed] and 0 or 1)
      suspects[passed] = true
      if waiting >= tonumber(redis.call('HGET', queue_key(queue), '*')) then
        return want, false
      end
    end
    looked = looked + 1 - leased
    want = want - leased
  end
  return want, want > 0
end

local function start_due(queue)
  local ids = redis.call('ZRANGEBYSCORE', queue_key(queue, 'delayed'), '-inf', now, 'LIMIT', 0, MOST_DUE)
  if #ids > 0 then
    end_delays(queue, ids)
    announce_due(queue, first_due(queue))
  end
end

-- When each queue's first delayed task falls due, those included that this fetch has delayed.
local function read_dues()
  local dues = {}
  for position, queue in ipairs(request.queues) do
    local due = first_due(queue)
    dues[position] = due and string.format('%.0f', due) or ''
  end
  return dues
end

local function fetch_all()
  local want, more = request.slots, false
  for _, queue in ipairs(request.queues) do
    start_due(queue)
  end
  finish()
  for _, queue in ipairs(request.queues) do
    if want > 0 then
      local unfinished
      want, unfinished = (is_fair(queue) and fetch_in_turn or fetch_in_order)(queue, want)
      more = more or unfinished
    end
    local holds_more = redis.call('EXISTS', queue_key(queue)) == 1
    if (want == 0 or room <= 0) and holds_more and redis.call('LLEN', queue_key(queue, 'wake')) == 0 then
      wake(queue, 1) -- this worker is full, another may not be
    end
  end
  finish()
  return read_dues(), more or room <= 0
end

-- Whether this worker may be given work, and why not.
local function standing()
  local alive_until = tonumber(redis.call('ZSCORE', KEYS[2], request.worker) or 0)
  local worker = redis.call('HMGET', P .. ':worker:' .. request.worker, 'nonce', 'dead')
  if alive_until == 0 or worker[2] then
    return 'gone'
  elseif alive_until <= now then
    return 'silent'
  elseif tonumber(worker[1] or 0) >= request.nonce then
    return 'late'
  elseif tonumber(worker[1] or 0) < (request.known or 0) then
    return 'rewound'
  end
  redis.call('HSET', P .. ':worker:' .. request.worker, 'nonce', request.nonce)
  if redis.call('HEXISTS', KEYS[1], 'paused') == 1 then
    return 'paused'
  end
  return 'ok'
end

pass_memory_limit()
settle_all()
local status, dues, more = 'ok', {}, false
if request.nonce > 0 then
  status = standing()
  if status == 'ok' and request.slots > 0 then
    dues, more = fetch_all()
  end
end
return { status, tostring(now), dues, more and '1' or '', settled, fetched }
