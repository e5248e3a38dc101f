-- Adds up what a worker has counted, for each length of time that statistics are kept in, and looks once in each how
-- much there is. What a schedule's last cycle came to goes to its record.
-- KEYS: meta
-- arg: request (unique name of this request), counts: {queue: {name: number}},
--   outcomes: [[schedule, outcome, ended]…], tiers: [[seconds, kept (seconds)]…]
-- returns: nothing
local MOST_FIELDS = 5000 -- of one hash: beyond half of them further queues are counted together, beyond all of them all
local MOST_LOOKED_AT = 100 -- queues

local function add(key, queue, amounts)
  local most = redis.call('HEXISTS', key, queue .. ' run') == 1 and MOST_FIELDS or MOST_FIELDS / 2
  local name = redis.call('HLEN', key) < most and queue or '*'
  for what, amount in pairs(amounts) do
    add_to(key, name .. ' ' .. what, amount)
  end
end

local function look(key, queue)
  redis.call('HSET', key,
    queue .. ' #ready', redis.call('HGET', queue_key(queue), '*') or 0,
    queue .. ' #running', redis.call('ZCARD', queue_key(queue, 'leased')),
    queue .. ' #delayed', redis.call('ZCARD', queue_key(queue, 'delayed')),
    queue .. ' #dead', redis.call('ZCARD', queue_key(queue, 'dead')))
end

-- A stretch that has just begun: what there is at its begin stands for it.
local function begin(key, kept)
  redis.call('HSET', key, ' ', now)
  redis.call('EXPIRE', key, kept)
  for _, queue in ipairs(redis.call('SRANDMEMBER', P .. ':queues', MOST_LOOKED_AT)) do
    look(key, queue)
  end
end

local function note(seconds, kept)
  local key = P .. ':statistics:' .. seconds .. ':' .. math.floor(now / 1000 / seconds)
  if redis.call('EXISTS', key) == 0 then
    begin(key, kept)
  end
  for queue, amounts in pairs(arg.counts) do
    add(key, queue, amounts)
  end
end

if is_done(arg.request) then
  return
end
for _, tier in ipairs(arg.tiers) do
  note(tier[1], tier[2])
end
for _, cycle in ipairs(arg.outcomes) do
  if read_schedule(cycle[1]).tenant then
    redis.call('HSET', schedule_key(cycle[1]), 'outcome', cycle[2], 'ended', cycle[3])
  end
end
note_done(arg.request)
