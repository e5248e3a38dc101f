-- Adds one chunk of tasks and continuations to a batch; the first one of a new batch creates it, a last one seals it.
-- KEYS: meta, tenants, open
-- arg: batch, tenant, chunk, previous? (the chunk before this one of the producer), producer, create?: {queue, scope}, last, keep (ms that the batch may stay open without a sign of its
--   producer), tasks: as in enqueue, without id; continuations: likewise with w (the awaited outcome), y (its delay, ms) or
--   z (when it is due, epoch ms)
--   ARGV[2…]: the data of the tasks, then of the continuations
-- returns: 'ok', 'missing' (no such batch of this tenant), 'canceled', 'full' (too many continuations),
--   'broken' (Redis lost the chunk before this one)
local MOST_CONTINUATIONS = 100
local key = batch_key(arg.batch)
local entry = arg.batch .. '/' .. arg.producer

local function has_chunk(chunk)
  return redis.call('ZSCORE', batch_key(arg.batch, 'chunks'), chunk)
end

-- What is to be answered without adding anything.
local function answer()
  local batch = redis.call('HMGET', key, 'tenant', 'cancel')
  if batch[1] and batch[1] ~= arg.tenant or not batch[1] and not arg.create then
    return 'missing'
  elseif has_chunk(arg.chunk) then
    return 'ok'
  elseif batch[2] then
    return 'canceled'
  elseif arg.previous and not has_chunk(arg.previous) then
    return 'broken'
  elseif redis.call('LLEN', batch_key(arg.batch, 'then')) + #arg.continuations > MOST_CONTINUATIONS then
    return 'full'
  end
end

local function create()
  redis.call('HSET', key, 'tenant', arg.tenant, 'queue', arg.create.queue, 'scope', arg.create.scope, 'start', now,
    'total', 0, 'done', 0, 'failed', 0, 'canceled', 0, 'duration', 0)
  redis.call('ZADD', P .. ':batches:' .. arg.tenant, now, arg.batch)
end

local function add(task, number)
  local id = arg.batch .. '.' .. arg.chunk .. '.' .. string.format('%d', number - 1)
  local due = task.at or task.after and now + task.after
  write_task(id, task, ARGV[number + 1], due and due > now and 'd' or 'r')
  place(task.q, task.t, id, due)
end

local function hold_back(task, number)
  local id = arg.batch .. '.' .. arg.chunk .. '.c' .. string.format('%d', number - 1)
  write_task(id, task, ARGV[#arg.tasks + number + 1], 'h')
  redis.call('RPUSH', batch_key(arg.batch, 'then'), id)
end

-- While any producer is still sending, the batch does not end.
local function seal_or_hold()
  if arg.last then
    if redis.call('ZREM', KEYS[3], entry) == 1 then
      redis.call('HINCRBY', key, 'hold', -1)
    end
  elseif redis.call('ZADD', KEYS[3], now + arg.keep, entry) == 1 then
    redis.call('HINCRBY', key, 'hold', 1)
  end
end

local answered = answer()
if answered then
  return answered
end
if redis.call('EXISTS', key) == 0 then
  create()
end
redis.call('ZADD', batch_key(arg.batch, 'chunks'), #arg.tasks, arg.chunk)
redis.call('ZADD', KEYS[2], now, arg.tenant)
redis.call('HINCRBY', key, 'total', #arg.tasks)
reopen(arg.batch)
for number, task in ipairs(arg.tasks) do
  add(task, number)
end
for number, task in ipairs(arg.continuations) do
  hold_back(task, number)
end
seal_or_hold()
flush_ready()
end_if_settled(arg.batch)
flush_ready()
return 'ok'
