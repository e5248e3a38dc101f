-- In front of every script. KEYS[1] is P:meta; ARGV[1] a MessagePack map of named arguments; ARGV[2...] opaque
-- payloads. The last key, P:none, never exists: while a cluster moves the slot, some keys are here and this one is not,
-- so that the server answers TRYAGAIN before anything runs. Without it a script could take keys that have moved for
-- missing ones.
local P = KEYS[1]:sub(1, -#':meta' - 1)
local arg = cmsgpack.unpack(ARGV[1])

local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = arg.now or server_time()

-- Redis lets a script grow memory past its limit once it has written: what frees memory begins with an empty removal.
local function pass_memory_limit()
  redis.call('HDEL', KEYS[1], '')
end

-- Redis's clock was put back: workers that beat no more would seem alive until it has caught up.
local function put_back_workers(step)
  local workers = redis.call('ZRANGE', P .. ':workers', 0, 9999, 'WITHSCORES')
  for position = 1, #workers, 2 do
    redis.call('ZADD', P .. ':workers', workers[position + 1] - step, workers[position])
  end
  redis.call('HSET', KEYS[1], 'beaten', now)
end

-- When nobody has beaten for a while, Redis was away, its clock was put forward, or no worker ran: everybody seems dead
-- and gets the time to show a sign of life. Also returns when that time began last.
local function nobody_can_be_blamed(timeout)
  local meta = redis.call('HMGET', KEYS[1], 'beaten', 'hold')
  local beaten, hold = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
  if beaten - now > timeout / 2 then
    put_back_workers(beaten - now)
  end
  if hold <= now and math.abs(now - beaten) > timeout / 2 or hold > now + timeout then
    hold = now + timeout
    redis.call('HSET', KEYS[1], 'hold', hold)
  end
  return now < hold, hold - timeout
end

-- Calls a command with many arguments at most 1,000 at a time: unpack has a limit.
local function call_many(command, key, values)
  for first = 1, #values, 1000 do
    redis.call(command, key, unpack(values, first, math.min(first + 999, #values)))
  end
end

local function unlink_all(keys)
  for first = 1, #keys, 1000 do
    redis.call('UNLINK', unpack(keys, first, math.min(first + 999, #keys)))
  end
end

local function append(lists, name, value)
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  list[#list + 1] = value
end
