-- Counting in batches. Counters move here only, together with a guarded change of a task's state.
local function batch_key(batch, part)
  return P .. ':batch:' .. batch .. (part and ':' .. part or '')
end

-- What tasks need to know of their batch, looked up once a script.
local looked_up = {}
local function look_up(batch)
  if not looked_up[batch] then
    local found = read_hash(batch_key(batch), 'tenant', 'cancel', 'scope')
    looked_up[batch] = { exists = not not found[1], canceled = not not found[2], scope = found[3] }
  end
  return looked_up[batch]
end

local function is_canceled(batch)
  return batch and look_up(batch).canceled
end

-- Appends what a worker is told of a task: its record without the data, then the data. How many bytes that are.
local MOST_TOLD = 8 * 1024 * 1024 -- bytes, of one reply: when there are more it is told no more
local function tell(told, task, batch)
  local data, position = task.d or '', #told
  task.b = task.b or batch and look_up(batch).scope or nil
  task.d, task.a = nil, nil
  local fields = cmsgpack.pack(task)
  told[position + 1] = fields
  told[position + 2] = data
  return #fields + #data
end

-- Marks a task as dead; its batch is still to count it.
local function lay_aside(id, queue, error)
  redis.call(
    'HSET', task_key(id), 's', 'x', 'q', queue, 'died', now,
    'error_type', error.type, 'error_message', error.message, 'traceback', error.traceback
  )
  redis.call('HDEL', task_key(id), 'l', 'u', 'h')
  redis.call('ZADD', queue_key(queue, 'dead'), now, id)
  redis.call('SADD', P .. ':queues', queue)
end

local DAMAGED = { type = 'MalformedTask', message = 'its record in Redis is damaged', traceback = '' }
local OUTCOMES = { success = true, failed = true, canceled = true, complete = true }

local function start_continuation(id, task)
  local due = whole(task[5]) or now + (whole(task[4]) or 0)
  redis.call('HSET', task_key(id), 's', due > now and 'd' or 'r', 'e', now)
  redis.call('HDEL', task_key(id), 'y', 'z')
  place(task[2], task[3], id, due)
end

-- What stands of a continuation must do to start it: whether the rest is sound, the fetch will see.
local function can_start(task)
  return task[2] and task[3] and OUTCOMES[task[6]]
    and not (task[4] and not whole(task[4])) and not (task[5] and not whole(task[5]))
end

-- A continuation that cannot be started is dead, and never counts in its batch.
local function give_up_continuation(batch, id, task)
  if not OUTCOMES[task[6]] then
    redis.call('HSET', task_key(id), 'w', 'complete')
  end
  lay_aside(id, task[2] or read_hash(batch_key(batch), 'queue')[1] or 'default', DAMAGED)
end

local function is_elsewhere(state)
  return state and find('rdlx', state, 1, true)
end

-- Continuations that wait for this outcome start; the others wait on, unless the batch can never end again.
local function fire(batch, outcome)
  local key = batch_key(batch, 'then')
  local held = redis.pcall('LRANGE', key, 0, 999) -- at most 100; an error, if it is no list, has none
  redis.call('UNLINK', key)
  for _, id in ipairs(held) do
    local task = read_task(id, 's', 'q', 't', 'y', 'z', 'w')
    if is_elsewhere(task[1]) then
      redis.call('LREM', key, 0, id)
    elseif task[1] ~= 'h' then
      redis.call('UNLINK', task_key(id))
    elseif not can_start(task) then
      give_up_continuation(batch, id, task)
    elseif task[6] == outcome or task[6] == 'complete' then
      start_continuation(id, task)
    elseif outcome == 'canceled' then
      redis.call('UNLINK', task_key(id))
    else
      redis.call('RPUSH', key, id)
    end
  end
end

-- Ends a sealed batch whose last task was just settled.
local function end_if_settled(batch)
  local key = batch_key(batch)
  local v = redis.call('HMGET', key, 'total', 'done', 'failed', 'canceled', 'hold', 'end', 'cancel')
  local total, done, failed, canceled = whole(v[1]), whole(v[2] or '0'), whole(v[3] or '0'), whole(v[4] or '0')
  local is_damaged = not (total and done and failed and canceled)
  if is_damaged or v[6] or (tonumber(v[5]) or 0) > 0 or total - done - failed - canceled > 0 then
    return
  end
  redis.call('HSET', key, 'end', now)
  redis.call('ZADD', P .. ':ended', now, batch)
  redis.call('ZREM', P .. ':canceled', batch)
  fire(batch, v[7] and 'canceled' or failed > 0 and 'failed' or 'success')
end

-- An ended batch runs again.
local function reopen(batch)
  redis.call('HDEL', batch_key(batch), 'end')
  redis.call('ZREM', P .. ':ended', batch)
end

-- From now on nothing of the batch is handed out, and whatever ends counts as canceled.
local function cancel(batch)
  redis.call('HSET', batch_key(batch), 'cancel', now)
  redis.call('HDEL', batch_key(batch), 'hold')
  redis.call('ZADD', P .. ':canceled', now, batch)
  redis.call('PUBLISH', P .. ':events', 'cancel')
  looked_up[batch] = nil
  end_if_settled(batch)
end

-- Collects counts of settled tasks by batch, so that each batch is written and looked at once a script.
local counts = {}
local function count(batch, field, amount)
  if batch then
    counts[batch] = counts[batch] or {}
    counts[batch][field] = (counts[batch][field] or 0) + amount
  end
end

local function flush_counts()
  for batch, fields in pairs(counts) do
    if look_up(batch).exists then
      for field, amount in pairs(fields) do
        add_to(batch_key(batch), field, amount)
      end
      end_if_settled(batch)
    end
  end
  counts = {}
end
