-- Makes a worker known, so that it may fetch.
-- KEYS: meta, workers
-- arg: worker, timeout (ms), host, pid, queues, slots, version
-- returns: now
pass_memory_limit()
nobody_can_be_blamed(arg.timeout)
local key = P .. ':worker:' .. arg.worker
redis.call('HSET', KEYS[1], 'beaten', now)
redis.call('ZADD', KEYS[2], now + arg.timeout, arg.worker)
redis.call(
  'HSET', key, 'host', arg.host, 'pid', arg.pid, 'since', now, 'seen', now, 'queues', arg.queues, 'slots', arg.slots,
  'version', arg.version
)
return tostring(now)
