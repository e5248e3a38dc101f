-- A worker without free slots passes on the wake token that it got.
-- KEYS: meta
-- arg: queue
pass_memory_limit()
if redis.call('EXISTS', queue_key(arg.queue)) == 1 then
  wake(arg.queue, 1)
end
return '1'
