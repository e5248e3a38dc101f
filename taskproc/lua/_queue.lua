-- Ready, delayed, leased and dead: the indexes of a queue.
local function queue_key(queue, part)
  return P .. ':queue:' .. queue .. (part and ':' .. part or '')
end

local function is_fair(queue)
  return queue:sub(-6) == '[fair]'
end

local function ready_key(queue, tenant)
  return queue_key(queue, is_fair(queue) and 'ready:' .. tenant or 'ready')
end

-- One token wakes one idle worker; the list is short, so that tokens nobody waits for cost nothing.
local function wake(queue, count)
  local key = queue_key(queue, 'wake')
  for _ = 1, math.min(count, 64 - redis.call('LLEN', key)) do
    redis.call('RPUSH', key, '1')
  end
end

-- Whether a queue or tenant is paused, or was until lately, so that something of it is still parked: see _pause.lua.
local pausing
local function is_pausing()
  if pausing == nil then
    pausing = redis.call('HEXISTS', KEYS[1], 'pauses') == 1
  end
  return pausing
end

local PARKED = P .. ':parked'
local function note_pausing()
  if redis.call('EXISTS', P .. ':pauses', PARKED) > 0 then
    redis.call('HSET', KEYS[1], 'pauses', '1')
  else
    redis.call('HDEL', KEYS[1], 'pauses')
  end
end

-- In a plain queue: where tasks of a tenant that was found paused are set aside, in their order.
local function lane_key(queue, tenant)
  return queue_key(queue, 'ready:' .. tenant)
end

local function forget_lane(queue, tenant)
  redis.call('ZREM', queue_key(queue, 'turns'), tenant)
  redis.call('ZREM', PARKED, tenant .. ':' .. queue, ':' .. tenant .. ':' .. queue)
  redis.call('UNLINK', lane_key(queue, tenant))
  note_pausing()
end

local function take_turn(queue, tenant)
  redis.call('ZADD', queue_key(queue, 'turns'), redis.call('HINCRBY', queue_key(queue), '#', 1), tenant)
end

-- Puts tasks that are ready into their queue, at its end or, when given back unstarted, at its head.
local function push_ready(queue, tenant, ids, at_head, list)
  call_many(at_head and 'LPUSH' or 'RPUSH', list, ids)
  redis.call('HINCRBY', queue_key(queue), '*', #ids)
  if is_fair(queue) and redis.call('HINCRBY', queue_key(queue), tenant, #ids) == #ids then
    take_turn(queue, tenant)
  end
  redis.call('SADD', P .. ':queues', queue)
  wake(queue, #ids)
end

-- Forgets the counts, tombstones and tokens of a queue without live ready tasks.
local function empty_queue(queue)
  if is_pausing() and not is_fair(queue) then
    for _, tenant in ipairs(redis.call('ZRANGE', queue_key(queue, 'turns'), 0, 9999)) do
      forget_lane(queue, tenant)
    end
  end
  redis.call('UNLINK', queue_key(queue), queue_key(queue, 'wake'), queue_key(queue, 'turns'), queue_key(queue, 'ready'))
end

-- Uncounts ready tasks that were handed out or dropped.
local function uncount_ready(queue, tenant, count)
  if is_fair(queue) and redis.call('HINCRBY', queue_key(queue), tenant, -count) <= 0 then
    redis.call('HDEL', queue_key(queue), tenant)
    redis.call('ZREM', queue_key(queue, 'turns'), tenant)
    redis.call('UNLINK', ready_key(queue, tenant))
  end
  if redis.call('HINCRBY', queue_key(queue), '*', -count) <= 0 then
    empty_queue(queue)
  end
end

-- The list whose head a tenant's task goes back to.
local function head_of(queue, tenant)
  if is_pausing() and redis.call('ZSCORE', queue_key(queue, 'turns'), tenant) then
    return lane_key(queue, tenant)
  end
  return ready_key(queue, tenant)
end

-- Collects tasks that become ready, by list, for one push each, in the order of their coming.
local ready, pushes = {}, {}
local function make_ready(queue, tenant, id, at_head)
  tenant = tenant or '' -- of a damaged record: fetch leaves it aside
  local list = at_head and head_of(queue, tenant) or ready_key(queue, tenant)
  local name = list .. (at_head and ':head' or '')
  if not ready[name] then
    ready[name] = { queue = queue, tenant = tenant, at_head = at_head, list = list, ids = {} }
    pushes[#pushes + 1] = ready[name]
  end
  table.insert(ready[name].ids, id)
end

local function flush_ready()
  for _, group in ipairs(pushes) do
    push_ready(group.queue, group.tenant, group.ids, group.at_head, group.list)
  end
  ready, pushes = {}, {}
end

-- When the first delayed task of a queue falls due, if there is one.
local function first_due(queue)
  return tonumber(redis.call('ZRANGE', queue_key(queue, 'delayed'), 0, 0, 'WITHSCORES')[2])
end

-- Tells idle workers when to look again; 0: nothing is delayed.
local function announce_due(queue, due)
  redis.call('PUBLISH', P .. ':events', 'due ' .. string.format('%.0f', due or 0) .. ' ' .. queue)
end

local function delay(queue, id, due)
  local first = first_due(queue)
  redis.call('ZADD', queue_key(queue, 'delayed'), due, id)
  redis.call('SADD', P .. ':queues', queue)
  if not first or due < first then
    announce_due(queue, due)
  end
end

-- A new or continued task goes where its delay says.
local function place(queue, tenant, id, due)
  if due and due > now then
    delay(queue, id, due)
  else
    make_ready(queue, tenant, id)
  end
end
