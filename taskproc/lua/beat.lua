-- A worker's sign of life; the reply tells what is being canceled.
-- KEYS: meta, workers, canceled
-- arg: worker, timeout (ms), limit, lag? (ms by which its event loop is late)
-- returns: '1', or '' when the worker is not known any more; [ids of batches and tasks, the newest first]
pass_memory_limit()
nobody_can_be_blamed(arg.timeout)
redis.call('HSET', KEYS[1], 'beaten', now)
local key = P .. ':worker:' .. arg.worker
local is_dead = redis.call('HEXISTS', key, 'dead') == 1
local known = redis.call('ZSCORE', KEYS[2], arg.worker) and not is_dead
if known then
  redis.call('ZADD', KEYS[2], now + arg.timeout, arg.worker)
  redis.call('HSET', key, 'seen', now, unpack(arg.lag and { 'lag', arg.lag } or {}))
end
return { known and '1' or '', redis.call('ZREVRANGE', KEYS[3], 0, arg.limit - 1) }
