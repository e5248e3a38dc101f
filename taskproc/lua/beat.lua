-- A worker's sign of life; the reply tells what is being canceled.
-- KEYS: meta, workers, canceled
-- arg: worker, timeout (ms), limit
-- returns: '1', or '' when the worker is not known any more; [ids of batches and tasks, the newest first]
pass_memory_limit()
nobody_can_be_blamed(arg.timeout)
redis.call('HSET', KEYS[1], 'beaten', now)
local is_dead = redis.call('HEXISTS', P .. ':worker:' .. arg.worker, 'dead') == 1
local known = redis.call('ZSCORE', KEYS[2], arg.worker) and not is_dead
if known then
  redis.call('ZADD', KEYS[2], now + arg.timeout, arg.worker)
end
return { known and '1' or '', redis.call('ZREVRANGE', KEYS[3], 0, arg.limit - 1) }
