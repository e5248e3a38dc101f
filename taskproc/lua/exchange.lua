-- Settles attempts that have ended, then leases as many ready tasks as the worker has free slots.
-- KEYS: meta, workers
-- arg: request: {worker, nonce (0: only settle), known (nonce of the last answer), slots, queues, max_recoveries},
--   settlements: [{id, token, outcome, us (run time), delay? (ms), type?, message?, traceback?, unknown?}]
--   outcome: done | retry | dead | discard | release
-- returns: status ('ok', 'paused', 'gone': the worker is not known (any more), 'silent': it has not beaten in time,
--   'late': overtaken by a later exchange or a resync, 'rewound': Redis has lost an exchange that it had answered),
--   now, [the next due time of each queue, or ''], '1' if there may be more, [settled as],
--   [[id, queue, scope of its batch, fields of the record…]]
--   settled as: done | failed | canceled | released | stale
local MOST_SKIPPED = 1000
local MOST_DUE = 200

-- Settling -----------------------------------------------------------------------------------------------------------

local request = arg.request
local settled = {}
local accepted = {}
local seen = {}

local function accept(position, settlement)
  local task = read_task(settlement.id, 's', 'l', 'q', 't', 'w', 'k', 'f', 'u')
  if task[1] ~= 'l' or task[2] ~= settlement.token or not task[3] or seen[settlement.id] then
    settled[position] = 'stale'
    return
  end
  seen[settlement.id] = true
  is_withdrawn(settlement.id, task[5], task[6]) -- looked up before anything is written
  accepted[#accepted + 1] = {
    position = position, settlement = settlement,
    id = settlement.id, queue = task[3], tenant = task[4], awaited = task[5], cancel_requested = task[6],
    failures = tonumber(task[7]) or 0, unknown_since = task[8],
  }
end

local function release_leases()
  local leased, held = {}, {}
  for _, attempt in ipairs(accepted) do
    append(leased, attempt.queue, attempt.id)
    append(held, worker_of(attempt.settlement.token), attempt.id)
  end
  for queue, ids in pairs(leased) do
    call_many('ZREM', queue_key(queue, 'leased'), ids)
  end
  for worker, ids in pairs(held) do
    call_many('SREM', P .. ':worker:' .. worker .. ':tasks', ids)
  end
end

local settle = {}

function settle.done(attempt)
  count(counted_in(attempt.id, attempt.awaited), 'done', 1)
  forget(attempt.id)
  return 'done'
end

function settle.retry(attempt)
  put_back(attempt.id, attempt.queue, attempt.tenant, attempt.settlement.delay or 0, false, 'f', attempt.failures + 1)
  return 'failed'
end

function settle.discard(attempt)
  count(counted_in(attempt.id, attempt.awaited), 'failed', 1)
  forget(attempt.id)
  return 'failed'
end

function settle.dead(attempt)
  redis.call('HSET', task_key(attempt.id), 'f', attempt.failures + 1)
  bury(attempt.id, attempt.queue, attempt.awaited, attempt.settlement)
  return 'failed'
end

function settle.release(attempt)
  if attempt.settlement.unknown then
    local since = attempt.unknown_since or now
    put_back(attempt.id, attempt.queue, attempt.tenant, attempt.settlement.delay, false, 'u', since)
  else
    put_back(attempt.id, attempt.queue, attempt.tenant, 0, true)
  end
  return 'released'
end

local function settle_one(attempt)
  if is_withdrawn(attempt.id, attempt.awaited, attempt.cancel_requested) then
    end_canceled(attempt.id, attempt.awaited, attempt.cancel_requested)
    return 'canceled'
  end
  return settle[attempt.settlement.outcome](attempt)
end

local function settle_all()
  for position, settlement in ipairs(arg.settlements) do
    accept(position, settlement)
  end
  release_leases()
  for _, attempt in ipairs(accepted) do
    settled[attempt.position] = settle_one(attempt)
    count(counted_in(attempt.id, attempt.awaited), 'duration', attempt.settlement.us or 0)
  end
  finish()
end

-- Fetching -----------------------------------------------------------------------------------------------------------

local FIELDS = { 's', 't', 'c', 'd', 'p', 'e', 'n', 'i', 'f', 'x', 'w', 'm', 'u', 'g', 'b', 'o', 'v', 'q' }
local fetched = {}
local token = request.worker .. ':' .. string.format('%.0f', request.nonce)

local function lease(queue, tasks)
  local deadlines, held = {}, {}
  for _, task in ipairs(tasks) do
    deadlines[#deadlines + 1] = now + task.record.i
    deadlines[#deadlines + 1] = task.id
    held[#held + 1] = task.id
  end
  call_many('ZADD', queue_key(queue, 'leased'), deadlines)
  call_many('SADD', P .. ':worker:' .. request.worker .. ':tasks', held)
  for _, task in ipairs(tasks) do
    redis.call('HSET', task_key(task.id), 's', 'l', 'l', token)
    if task.record.v then
      redis.call('HDEL', task_key(task.id), 'v') -- it was fetched in time
    end
    local batch = batch_of(task.id)
    local scope = batch and look_up(batch).scope or ''
    fetched[#fetched + 1] = { task.id, queue, scope, unpack(task.record, 1, #FIELDS - 3) }
  end
end

-- A task whose next take-back from a dead worker would be its last may be what kills them: a worker gets one such task
-- at a time, so that no innocent one dies with it.
local function may_kill(recoveries)
  return (tonumber(recoveries) or 0) >= math.max(request.max_recoveries - 1, 1)
end

local suspect = nil
local function must_wait(id, recoveries)
  if not may_kill(recoveries) then
    return false
  end
  local other = redis.call('HGET', P .. ':worker:' .. request.worker, 'suspect')
  local held = other and read_task(other, 's', 'l', 'o')
  if suspect or held and held[1] == 'l' and worker_of(held[2]) == request.worker and may_kill(held[3]) then
    return true
  end
  suspect = id
  redis.call('HSET', P .. ':worker:' .. request.worker, 'suspect', id)
  return false
end

local function read_record(id)
  local record = read_task(id, unpack(FIELDS))
  for position, name in ipairs(FIELDS) do
    record[name] = record[position]
  end
  return record
end

-- Sorts ids at the head of a list: tombstones are passed over, as is an id that stands there twice.
local looked_at = {}
local function sort_out(ids)
  local found = { live = {}, canceled = {}, expired = {}, unsound = {}, suspects = {} }
  for _, id in ipairs(ids) do
    local record = read_record(id)
    if record.s == 'r' and not looked_at[id] then
      looked_at[id] = true
      local kind = 'live'
      if not is_sound(record) then
        kind = 'unsound'
      elseif is_canceled(counted_in(id, record.w)) then
        kind = 'canceled'
      elseif record.v and now > tonumber(record.v) then
        kind = 'expired'
      elseif must_wait(id, record.o) then
        kind = 'suspects'
      end
      table.insert(found[kind], { id = id, record = record })
    end
  end
  return found
end

local function bury_unsound(queue, task)
  redis.call('HSET', task_key(task.id), 'q', queue)
  bury(task.id, queue, task.record.w, {
    type = 'MalformedTask', message = 'its record in Redis is damaged', traceback = '',
  })
end

-- Takes up to `want` ids off the head of a list; returns how many were looked at, how many of them leased, and the last
-- one that had to go to the end of the list.
local function take(queue, tenant, want)
  local list = ready_key(queue, tenant)
  local ids = redis.call('LRANGE', list, 0, want - 1)
  local found = sort_out(ids)
  lease(queue, found.live)
  if #ids > 0 then
    redis.call('LPOP', list, #ids)
  end
  for _, task in ipairs(found.suspects) do
    looked_at[task.id] = nil
    redis.call('RPUSH', list, task.id)
  end
  for _, task in ipairs(found.canceled) do
    end_canceled(task.id, task.record.w)
  end
  for _, task in ipairs(found.expired) do
    forget(task.id)
  end
  for _, task in ipairs(found.unsound) do
    bury_unsound(queue, task)
  end
  local taken = #found.live + #found.canceled + #found.expired + #found.unsound
  if taken > 0 then
    uncount_ready(queue, tenant, taken)
  end
  return #ids, #found.live, found.suspects[#found.suspects]
end

local function fetch_in_order(queue, want)
  local length = redis.call('LLEN', ready_key(queue))
  local most = math.min(length, want + MOST_SKIPPED)
  local looked = 0
  while want > 0 and looked < most do
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
  while want > 0 and looked < MOST_SKIPPED do
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
      waiting = waiting + (suspects[passed.id] and 0 or 1)
      suspects[passed.id] = true
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
    if want == 0 and holds_more and redis.call('LLEN', queue_key(queue, 'wake')) == 0 then
      wake(queue, 1) -- this worker is full, another may not be
    end
  end
  finish()
  return read_dues(), more
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
