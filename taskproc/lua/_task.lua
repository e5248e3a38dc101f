-- The record of a task: see docs/architecture.md for its one-letter fields.
local function task_key(id)
  return P .. ':task:' .. id
end

-- The batch is part of the id: batch.chunk.number. Ids of single tasks have no dot, those of schedules have a colon.
local function batch_of(id)
  return id:match('^(%x+)%.[%w.]+$')
end

-- The batch that counts the task; a continuation belongs to one but is not counted.
local function counted_in(id, awaited)
  return not awaited and batch_of(id) or nil
end

local function worker_of(token)
  return token:match('^(.*):')
end

local function nonce_of(token)
  return tonumber(token:match(':(%d+)$'))
end

-- Fields of a hash in the order asked for; none where the key holds something else.
local function read_hash(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if not values.err then
    return values
  elseif values.err:find('WRONGTYPE') then
    return {}
  end
  error(values.err)
end

local function read_task(id, ...)
  return read_hash(task_key(id), ...)
end

-- Counts up a field, from nothing if it is damaged.
local function increment(id, name)
  local value = (tonumber(read_task(id, name)[1]) or 0) + 1
  redis.call('HSET', task_key(id), name, value)
  return value
end

local function write_task(id, task, data, state)
  local fields = { 's', state, 'q', task.q, 't', task.t, 'c', task.c, 'd', data, 'e', now, 'n', task.n, 'i', task.i }
  for _, name in ipairs({ 'p', 'x', 'w', 'y', 'z', 'm', 'g', 'v', 'b' }) do
    if task[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = task[name]
    end
  end
  redis.call('HSET', task_key(id), unpack(fields))
end
