-- Takes a queue that holds nothing off the list of queues.
-- KEYS: meta, queues
-- arg: queue
-- returns: '1' when it was empty
local used = redis.call('EXISTS', queue_key(arg.queue), queue_key(arg.queue, 'leased'), queue_key(arg.queue, 'delayed'),
  queue_key(arg.queue, 'dead'))
if used > 0 then
  return ''
end
redis.call('SREM', KEYS[2], arg.queue)
return '1'
