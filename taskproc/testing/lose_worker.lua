-- Makes a worker count as dead now: it has no say any more, and the next sweep of any worker takes its tasks back.
-- KEYS: meta, workers
-- arg: worker
if redis.call('ZSCORE', KEYS[2], arg.worker) then
  redis.call('HSET', P .. ':worker:' .. arg.worker, 'dead', '1')
  redis.call('ZADD', KEYS[2], 0, arg.worker)
  redis.call('HSET', KEYS[1], 'beaten', now)
  redis.call('HDEL', KEYS[1], 'hold')
  redis.call('PUBLISH', P .. ':events', 'resume')
end
