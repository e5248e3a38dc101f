-- Ways in which a task leaves ready, delayed or leased for good, and back. All of them are flushed by `finish`.
local gone = {}
local dropped = {}

local function forget(id)
  gone[#gone + 1] = task_key(id)
end

-- Whether this task's attempts no longer count: its batch, or it alone, was canceled.
local function is_withdrawn(id, awaited, cancel_requested)
  return cancel_requested or is_canceled(counted_in(id, awaited))
end

local function end_canceled(id, awaited, cancel_requested)
  if cancel_requested then
    redis.call('ZREM', P .. ':canceled', id)
  end
  count(counted_in(id, awaited), 'canceled', 1)
  forget(id)
end

-- A ready task is dropped: its id stays in the list as a tombstone, which fetch skips.
local function drop_ready(id, queue, tenant, awaited)
  local name = queue .. ':' .. tenant
  dropped[name] = dropped[name] or { queue = queue, tenant = tenant, count = 0 }
  dropped[name].count = dropped[name].count + 1
  end_canceled(id, awaited)
end

local function bury(id, queue, awaited, error)
  lay_aside(id, queue, error)
  count(counted_in(id, awaited), 'failed', 1)
end

-- A record without which no worker can run the task, and no script move it. Written out: it is asked for each task.
local function is_sound(task, queue)
  local f, m, u, o, v = task.f, task.m, task.u, task.o, task.v
  return task.q == queue and task.t and task.c and task.d
    and find(task.n or '', NUMBER) and find(task.i or '', NUMBER) and find(task.e or '', NUMBER)
    and not (f and not find(f, NUMBER)) and not (m and not find(m, NUMBER)) and not (u and not find(u, NUMBER))
    and not (o and not find(o, NUMBER)) and not (v and not find(v, NUMBER))
end

-- The attempts of a task, kept in its record: how many there were, then the last of them, each a MessagePack array
-- after its length.
local MOST_OF_ATTEMPTS = 6000 -- bytes
local MOST_OF_MESSAGE = 300
local function with_attempt(attempts, outcome, token, began, error)
  if attempts and #attempts > 2 * MOST_OF_ATTEMPTS then
    attempts = nil -- damaged: to cut it down, entry by entry, could take hours
  end
  local times, kept = (attempts or ''):match('^(%d%d?%d?%d?%d?%d?) (.*)$')
  local message = error.message or ''
  if #message > MOST_OF_MESSAGE then
    message = message:sub(1, MOST_OF_MESSAGE):gsub('[\194-\244][\128-\191]*$', '') -- no half characters
  end
  local entry = cmsgpack.pack({ outcome, worker_of(token) or '', began, now, error.type or '', message })
  kept = (kept or '') .. #entry .. ':' .. entry
  while #kept > MOST_OF_ATTEMPTS do
    local length = kept:match('^(%d%d?%d?%d?):') or #kept
    kept = kept:sub(#tostring(length) + length + 2)
  end
  return ((tonumber(times) or 0) + 1) .. ' ' .. kept
end

-- An attempt's task goes back into its queue; `...` are fields that its record gets.
local function put_back(id, queue, tenant, wait, at_head, ...)
  redis.call('HDEL', task_key(id), 'l', 'u', 'h')
  if wait > 0 then
    redis.call('HSET', task_key(id), 's', 'd', ...)
  else
    redis.call('HSET', task_key(id), 's', 'r', 'r', now, ...)
  end
  if wait > 0 then
    delay(queue, id, now + wait)
  else
    make_ready(queue, tenant, id, at_head)
  end
end

-- Ends the lease that a worker has on a task; what is then to become of it, `otherwise` says, unless it was canceled.
-- It is told the lease's token and begin too.
local function revoke(id, worker, otherwise)
  local task = read_task(id, 's', 'l', 'q', 't', 'w', 'k', 'h', 'i')
  local holds = task[1] == 'l' and task[2] and task[3] and worker_of(task[2]) == worker
  redis.call('SREM', P .. ':worker:' .. worker .. ':tasks', id)
  if not holds then
    return
  end
  local ends = redis.call('ZSCORE', queue_key(task[3], 'leased'), id)
  redis.call('ZREM', queue_key(task[3], 'leased'), id)
  if is_withdrawn(id, task[5], task[6]) then
    end_canceled(id, task[5], task[6])
  else
    local began = whole(task[7]) or (tonumber(ends) or now) - (whole(task[8]) or 0)
    otherwise(id, task[3], task[4], task[5], task[2], began)
  end
end

local function give_back(id, queue, tenant)
  put_back(id, queue, tenant, 0, true)
end

-- Delayed tasks whose time has come.
local function end_delays(queue, ids)
  for _, id in ipairs(ids) do
    local task = read_task(id, 's', 't', 'w')
    if task[1] == 'd' and is_withdrawn(id, task[3]) then
      end_canceled(id, task[3])
    elseif task[1] == 'd' then
      redis.call('HSET', task_key(id), 's', 'r', 'r', now)
      make_ready(queue, task[2], id)
    end
  end
  call_many('ZREM', queue_key(queue, 'delayed'), ids)
end

local function finish()
  unlink_all(gone)
  for _, group in pairs(dropped) do
    uncount_ready(group.queue, group.tenant, group.count)
  end
  gone = {}
  dropped = {}
  flush_counts()
  flush_ready()
end
