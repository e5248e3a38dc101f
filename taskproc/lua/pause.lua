-- Stops handing out tasks, everywhere, or goes on with it. A request names the change before it, so that a copy of it
-- that comes late, after another change, does nothing.
-- KEYS: meta
-- arg: paused (boolean), change (how many changes there were)
-- returns: how many changes there are now, '1' if paused
local changes = tonumber(redis.call('HGET', KEYS[1], 'changes') or 0)
local paused = redis.call('HEXISTS', KEYS[1], 'paused') == 1
if changes == arg.change and paused ~= arg.paused then
  pass_memory_limit()
  changes = redis.call('HINCRBY', KEYS[1], 'changes', 1)
  if arg.paused then
    redis.call('HSET', KEYS[1], 'paused', now)
  else
    redis.call('HDEL', KEYS[1], 'paused')
    redis.call('PUBLISH', P .. ':events', 'resume')
  end
  paused = arg.paused
end
return { changes, paused and '1' or '' }
