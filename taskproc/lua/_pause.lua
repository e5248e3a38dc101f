-- Pauses. P:pauses says of '*' (everything), 'queue:name' and 'tenant:name' when the pause ends, P:pause:{…} the rest.
-- A tenant that is found paused when its turn comes is parked, at the end of `turns`. In a plain queue its tasks go, as
-- they come to the head, to its lane; once it is resumed the lane is served before the queue's own list: it is older.
-- P:parked has tenant:queue of what is parked, and :tenant:queue of lanes that are served and not empty yet.
local PAUSES = P .. ':pauses'
local ENDLESS = 1e15 -- ms
local BEHIND = 2 ^ 52 -- of all turns
local MOST_ENDED, MOST_PLACES = 20, 500 -- at a time

local function about_pause(what)
  return P .. ':pause:' .. what
end

local known_pauses = {}
local function is_paused(what)
  if known_pauses[what] == nil then
    known_pauses[what] = (tonumber(redis.call('ZSCORE', PAUSES, what)) or 0) > now
  end
  return known_pauses[what]
end

local function is_parked(queue, tenant)
  return (tonumber(redis.call('ZSCORE', queue_key(queue, 'turns'), tenant)) or 0) >= BEHIND
end

local function parked_in(queue)
  return redis.call('ZRANGEBYSCORE', queue_key(queue, 'turns'), string.format('%.0f', BEHIND), '+inf', 'LIMIT', 0, 9999)
end

local function park(queue, tenant)
  local turn = redis.call('HINCRBY', queue_key(queue), '#', 1)
  redis.call('ZADD', queue_key(queue, 'turns'), string.format('%.0f', BEHIND + turn), tenant)
  redis.call('ZADD', PARKED, 0, tenant .. ':' .. queue)
  redis.call('ZREM', PARKED, ':' .. tenant .. ':' .. queue)
end

-- A worker of a version without lanes has taken the queue for empty, and forgotten what stands in this one.
local function find_again(queue, tenant)
  local most = is_fair(queue) and 0 or redis.call('LLEN', lane_key(queue, tenant))
  if most > 0 then
    redis.call('HINCRBY', queue_key(queue), '*', most)
    redis.call('SADD', P .. ':queues', queue)
  end
  return most > 0
end

local function unpark(queue, tenant)
  redis.call('ZREM', PARKED, tenant .. ':' .. queue)
  if redis.call('ZSCORE', queue_key(queue, 'turns'), tenant) or find_again(queue, tenant) then
    take_turn(queue, tenant)
    wake(queue, 1)
    if not is_fair(queue) then
      redis.call('ZADD', PARKED, 0, ':' .. tenant .. ':' .. queue)
    end
  end
end

-- Ends a pause; of a tenant that is parked in very many queues only some of it: then the pause is over, and stays
-- listed until a later call ends the rest. Returns whether nothing is left of it.
local function end_pause(what)
  local tenant = what:match('^tenant:(.*)')
  local found = tenant
    and redis.call('ZRANGEBYLEX', PARKED, '[' .. tenant .. ':', '(' .. tenant .. ';', 'LIMIT', 0, MOST_PLACES) or {}
  for _, member in ipairs(found) do
    unpark(member:sub(#tenant + 2), tenant)
  end
  local is_whole = #found < MOST_PLACES
  if is_whole then
    redis.call('ZREM', PAUSES, what)
    redis.call('UNLINK', about_pause(what))
  else
    redis.call('ZADD', PAUSES, now, what)
  end
  if what == '*' then
    redis.call('HDEL', KEYS[1], 'paused')
  end
  known_pauses[what] = false
  redis.call('PUBLISH', P .. ':events', 'resume')
  return is_whole
end

-- Ends pauses whose time is over.
local function end_lapsed()
  local lapsed = redis.call('ZRANGEBYSCORE', PAUSES, '-inf', now, 'LIMIT', 0, MOST_ENDED)
  if #lapsed > 0 then
    pass_memory_limit()
    for _, what in ipairs(lapsed) do
      end_pause(what)
    end
    note_pausing()
  end
end

local function everything_is_paused()
  local meta = redis.call('HMGET', KEYS[1], 'paused', 'pauses')
  pausing = not not meta[2]
  if pausing then
    end_lapsed()
  end
  return meta[1] and (not pausing or redis.call('HEXISTS', KEYS[1], 'paused') == 1)
end
