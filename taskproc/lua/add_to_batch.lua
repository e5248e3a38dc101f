-- Adds one chunk of tasks and continuations to a batch; the first one of a new batch creates it, a last one seals it.
-- KEYS: meta, tenants, open
-- arg: chunk: {batch, tenant, name, previous? (the producer's chunk before it), producer, create?: {queue, scope},
--   last}, keep (ms that the batch may stay open without a sign of its producer), tasks: as in enqueue, without id,
--   continuations: likewise with w (the awaited outcome), y (delay, ms) or z (due, epoch ms)
--   ARGV[2…]: the data of the tasks, then of the continuations
-- returns: 'ok', 'missing' (no such batch of this tenant), 'canceled', 'full' (too many continuations),
--   'broken' (Redis lost the chunk before this one)
local MOST_CONTINUATIONS = 100
local chunk = arg.chunk
local key = batch_key(chunk.batch)
local entry = chunk.batch .. '/' .. chunk.producer

local function has_chunk(name)
  return redis.call('ZSCORE', batch_key(chunk.batch, 'chunks'), name)
end

-- What is to be answered without adding anything.
local function answer()
  local batch = read_hash(key, 'tenant', 'cancel')
  if batch[1] and batch[1] ~= chunk.tenant or not batch[1] and not chunk.create then
    return 'missing'
  elseif has_chunk(chunk.name) then
    return 'ok'
  elseif batch[2] then
    return 'canceled'
  elseif chunk.previous and not has_chunk(chunk.previous) then
    return 'broken'
  elseif redis.call('LLEN', batch_key(chunk.batch, 'then')) + #arg.continuations > MOST_CONTINUATIONS then
    return 'full'
  end
end

local function create()
  redis.call(
    'HSET', key, 'tenant', chunk.tenant, 'queue', chunk.create.queue, 'scope', chunk.create.scope,
    'start', now, 'total', 0, 'done', 0, 'failed', 0, 'canceled', 0, 'duration', 0
  )
  local batches = P .. ':batches:' .. chunk.tenant
  local newest = tonumber(redis.call('ZRANGE', batches, -1, -1, 'WITHSCORES')[2] or 0)
  redis.call('ZADD', batches, math.max(now, newest + 0.001), chunk.batch) -- in order, also within a millisecond
end

local function add(task, number)
  local id = chunk.batch .. '.' .. chunk.name .. '.' .. string.format('%d', number - 1)
  local due = task.at or task.after and now + task.after
  write_task(id, task, ARGV[number + 1], due and due > now and 'd' or 'r')
  place(task.q, task.t, id, due)
end

local function hold_back(task, number)
  local id = chunk.batch .. '.' .. chunk.name .. '.c' .. string.format('%d', number - 1)
  write_task(id, task, ARGV[#arg.tasks + number + 1], 'h')
  redis.call('RPUSH', batch_key(chunk.batch, 'then'), id)
end

-- While any producer is still sending, the batch does not end.
local function seal_or_hold()
  if chunk.last then
    if redis.call('ZREM', KEYS[3], entry) == 1 then
      add_to(key, 'hold', -1)
    end
  elseif redis.call('ZADD', KEYS[3], now + arg.keep, entry) == 1 then
    add_to(key, 'hold', 1)
  end
end

local answered = answer()
if answered then
  return answered
end
if redis.call('EXISTS', key) == 0 then
  create()
end
redis.call('ZADD', batch_key(chunk.batch, 'chunks'), #arg.tasks, chunk.name)
redis.call('ZADD', KEYS[2], now, chunk.tenant)
add_to(key, 'total', #arg.tasks)
reopen(chunk.batch)
for number, task in ipairs(arg.tasks) do
  add(task, number)
end
for number, task in ipairs(arg.continuations) do
  hold_back(task, number)
end
seal_or_hold()
flush_ready()
end_if_settled(chunk.batch)
flush_ready()
return 'ok'
