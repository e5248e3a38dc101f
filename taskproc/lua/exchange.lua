-- Settles attempts that have ended, then leases as many ready tasks as the worker has free slots.
-- KEYS: meta, workers
-- arg: request: {worker, nonce (0: only settle), known (nonce of the last answer), slots, queues, max_recoveries},
--   done: [id, token, us (run time) of each],
--   others: [{id, token, outcome, us, delay? (ms), type?, message?, traceback? (of a dead one), unknown?}]
--   outcome: retry | dead | discard | release
-- returns: status ('ok', 'paused': everything is, or this worker is drained, 'gone': the worker is not known (any
--   more), 'silent': it has not beaten in time, 'late': overtaken by a later exchange or a resync, 'rewound': Redis has
--   lost an exchange that it had answered), now, [the next due time of each queue, or ''], '1' if there may be more,
--   [settled as of each done, then of each other], [record, data of each task]; a record is a MessagePack map of its
--   fields, with the scope of its batch
--   settled as: done | failed | canceled | released | stale
local MOST_SKIPPED = 1000
local MOST_DUE = 200
local MOST_LANES = 100

local request = arg.request
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
  if task.v or task.h then
    redis.call('HDEL', task_key(task.id), 'v', 'h') -- it was fetched in time; and its lease begins
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
  elseif pausing and is_paused('tenant:' .. task.t) then
    return 'aside'
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

-- Tasks of paused tenants go to the lanes of these.
local function set_aside(queue, lanes)
  for tenant, ids in pairs(lanes) do
    call_many('RPUSH', lane_key(queue, tenant), ids)
    if not is_parked(queue, tenant) then
      park(queue, tenant)
    end
  end
end

-- Takes up to `want` ids off the head of a list while there is room to tell of them, passing over tombstones and what
-- stands there twice; returns how many were looked at, how many of them leased, and the last one that had to go to the
-- end of the list.
local looked_at = {}
local function take(queue, tenant, want, list)
  local ids = redis.call('LRANGE', list, 0, want - 1)
  local deadlines, held, dropped_here, suspects, lanes, looked = {}, {}, 0, {}, {}, #ids
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
      elseif kind == 'aside' then
        append(lanes, task.t, id)
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
  set_aside(queue, lanes)
  for _, id in ipairs(suspects) do
    looked_at[id] = nil
  end
  if #held + dropped_here > 0 then
    uncount_ready(queue, tenant, #held + dropped_here)
  end
  return looked, #held, suspects[#suspects]
end

-- Returns how many are still wanted, and whether there may be more behind what was looked at.
local function take_along(queue, want, list)
  local length = redis.call('LLEN', list)
  local most = math.min(length, want + MOST_SKIPPED)
  local looked = 0
  while want > 0 and room > 0 and looked < most do
    local seen_now, leased = take(queue, nil, math.min(want, most - looked), list)
    if seen_now == 0 then
      break
    end
    looked = looked + seen_now
    want = want - leased
  end
  return want, want > 0 and most < length
end

-- What was set aside of tenants that are paused no more: it is older than all that stands in the queue's list.
local function fetch_from_lanes(queue, want)
  local unfinished, wanted, closed = false, want, 0
  local first = '(' .. string.format('%.0f', BEHIND)
  local open = redis.call('ZRANGEBYSCORE', queue_key(queue, 'turns'), '-inf', first, 'LIMIT', 0, MOST_LANES)
  for _, tenant in ipairs(open) do
    if redis.call('EXISTS', lane_key(queue, tenant)) == 0 then
      forget_lane(queue, tenant) -- the last live task of the queue stood in another lane
    elseif is_paused('tenant:' .. tenant) then
      park(queue, tenant)
      closed = closed + 1
    elseif want > 0 and room > 0 then
      local more
      want, more = take_along(queue, want, lane_key(queue, tenant))
      unfinished = unfinished or more
      if redis.call('EXISTS', lane_key(queue, tenant)) == 0 then
        forget_lane(queue, tenant)
        closed = closed + 1
      end
    end
  end
  local moved = closed > 0 or want < wanted -- else there are only suspects, which must not hold up the others
  return want, unfinished or moved and #open == MOST_LANES
end

local function fetch_in_order(queue, want)
  local unfinished = false
  if pausing then
    want, unfinished = fetch_from_lanes(queue, want)
  end
  if want > 0 and not unfinished then
    want, unfinished = take_along(queue, want, ready_key(queue))
  end
  local has_lanes = pausing and redis.call('EXISTS', queue_key(queue, 'turns')) == 1
  if not has_lanes and redis.call('EXISTS', ready_key(queue)) == 0 then
    empty_queue(queue)
  end
  return want, unfinished
end

-- How many tasks tenants that are parked have in a fair queue: counted once, and again when one more is parked.
local parked_tasks = {}
local function count_parked(queue)
  local tasks = parked_tasks[queue] or 0
  if pausing and not parked_tasks[queue] then
    for _, tenant in ipairs(parked_in(queue)) do
      tasks = tasks + (tonumber(redis.call('HGET', queue_key(queue), tenant)) or 0)
    end
  end
  parked_tasks[queue] = tasks
  return tasks
end

-- How many tasks are ready in a fair queue, but for those of tenants that are parked.
local function count_in_turn(queue)
  return (tonumber(redis.call('HGET', queue_key(queue), '*')) or 0) - count_parked(queue)
end

-- The tenant whose turn it is, if there is one: paused ones that stand in front are parked. Also returns how many, and
-- whether, being the most, there may be one behind them.
local function next_in_turn(queue, most)
  for parked = 0, most - 1 do
    local tenant = redis.call('ZRANGE', queue_key(queue, 'turns'), 0, 0)[1]
    if not pausing or not tenant or not is_paused('tenant:' .. tenant) then
      return tenant, parked, false
    elseif is_parked(queue, tenant) then
      return nil, parked, false
    end
    park(queue, tenant)
    parked_tasks[queue] = nil
  end
  return nil, most, true
end

-- Takes tombstones off the head of a list, many at a time, so that a canceled backlog holds up nobody else.
local MOST_TOMBSTONES = 200
local function pass_tombstones(list)
  local ids, count_here = redis.call('LRANGE', list, 0, MOST_TOMBSTONES - 1), 0
  while ids[count_here + 1] and read_task(ids[count_here + 1], 's')[1] ~= 'r' do
    count_here = count_here + 1
  end
  if count_here > 0 then
    redis.call('LPOP', list, count_here)
  end
  return count_here
end

-- One of each tenant in turn, until there are none but suspects. A tenant whose task was canceled keeps its turn.
local function fetch_in_turn(queue, want)
  local looked, suspects, waiting = 0, {}, 0
  while want > 0 and room > 0 and looked < MOST_SKIPPED do
    local tenant, parked, unfinished = next_in_turn(queue, MOST_SKIPPED - looked)
    looked = looked + parked
    if not tenant then
      if redis.call('EXISTS', queue_key(queue, 'turns')) == 0 then
        empty_queue(queue)
      end
      return want, unfinished
    end
    local seen_now, leased, passed = take(queue, tenant, 1, ready_key(queue, tenant))
    if seen_now == 0 then
      uncount_ready(queue, tenant, redis.call('HGET', queue_key(queue), tenant) or 0)
    elseif (leased > 0 or passed) and redis.call('ZSCORE', queue_key(queue, 'turns'), tenant) then
      take_turn(queue, tenant)
    end
    if seen_now > leased and not passed then
      looked = looked + math.floor(pass_tombstones(ready_key(queue, tenant)) / 10) -- each costs less than a fetch
    end
    if passed then
      waiting = waiting + (suspects[passed] and 0 or 1)
      suspects[passed] = true
      if waiting >= count_in_turn(queue) then
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

local function fetch_from(queue, want)
  if pausing and is_paused('queue:' .. queue) then
    return want, false
  end
  return (is_fair(queue) and fetch_in_turn or fetch_in_order)(queue, want)
end

-- Whether some worker may get something of a queue now.
local function has_work(queue)
  if redis.call('EXISTS', queue_key(queue)) == 0 or pausing and is_paused('queue:' .. queue) then
    return false
  elseif not pausing or not is_fair(queue) and redis.call('EXISTS', ready_key(queue)) == 1 then
    return true
  end
  local tenant = redis.call('ZRANGE', queue_key(queue, 'turns'), 0, 0)[1]
  return tenant and not is_parked(queue, tenant)
end

local function wake_another(queue)
  if has_work(queue) and redis.call('LLEN', queue_key(queue, 'wake')) == 0 then
    wake(queue, 1)
  end
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
      want, unfinished = fetch_from(queue, want)
      more = more or unfinished
    end
    if want == 0 or room <= 0 then
      wake_another(queue) -- this worker is full, another may not be
    end
  end
  finish()
  return read_dues(), more or room <= 0
end

-- Whether this worker may be given work, and why not.
local function standing()
  local alive_until = tonumber(redis.call('ZSCORE', KEYS[2], request.worker) or 0)
  local worker = redis.call('HMGET', P .. ':worker:' .. request.worker, 'nonce', 'dead', 'drain')
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
  if everything_is_paused() then
    return 'paused'
  elseif worker[3] then
    for _, queue in ipairs(request.slots > 0 and request.queues or {}) do
      wake_another(queue) -- the token that woke this worker was for one that works
    end
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
