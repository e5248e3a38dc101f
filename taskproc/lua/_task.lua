-- The record of a task: see docs/architecture.md for its one-letter fields.
local function task_key(id)
  return P .. ':task:' .. id
end

-- The batch is part of the id: batch.chunk.number. Ids of single tasks have no dot, those of schedules have a colon.
local find, sub = string.find, string.sub
local NUMBER = '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$' -- of up to 14 digits: calendars end soon after
local function batch_of(id)
  local dot = find(id, '.', 1, true)
  return dot and not find(id, ':', 1, true) and sub(id, 1, dot - 1) or nil
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

-- The value of a field that is a number; nil if it is none.
local function whole(field)
  return field and find(field, NUMBER) and tonumber(field) or nil
end

-- Adds to a counter; one that is damaged stays as it is, and stops nothing else.
local function add_to(key, name, amount)
  local reply = redis.pcall('HINCRBY', key, name, amount)
  if type(reply) == 'table' and not reply.err:find('integer') and not reply.err:find('overflow') then
    error(reply.err)
  end
end

-- A task's id and all fields of its record by name, in a table that the next call fills anew: making one each time
-- costs more than reading it.
local record = {}
local function read_record(id)
  local fields = redis.pcall('HGETALL', task_key(id)) -- at most some twenty
  if fields.err then
    if not fields.err:find('WRONGTYPE') then
      error(fields.err)
    end
    fields = {}
  end
  for name in pairs(record) do
    record[name] = nil
  end
  for position = 1, #fields, 2 do
    record[fields[position]] = fields[position + 1]
  end
  record.id = id
  return record
end

-- Counts up a field, from nothing if it is damaged.
local function increment(id, name)
  local value = (tonumber(read_task(id, name)[1]) or 0) + 1
  redis.call('HSET', task_key(id), name, value)
  return value
end

local function write_task(id, task, data, state)
  local fields = { 's', state, 'q', task.q, 't', task.t, 'c', task.c, 'd', data, 'e', now, 'n', task.n, 'i', task.i }
  for _, name in ipairs({ 'p', 'x', 'w', 'y', 'z', 'm', 'g', 'v', 'b', 'j' }) do
    if task[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = task[name]
    end
  end
  redis.call('HSET', task_key(id), unpack(fields))
end
