-- A worker fetches no more, or goes on; what runs there goes on in both cases.
-- KEYS: meta, workers
-- arg: worker, drain (boolean), request (unique name of this request)
-- returns: '1', or '' when the worker is unknown
if is_done(arg.request) then
  return '1'
elseif not redis.call('ZSCORE', KEYS[2], arg.worker) then
  return ''
end
pass_memory_limit()
if arg.drain then
  redis.call('HSET', P .. ':worker:' .. arg.worker, 'drain', now)
else
  redis.call('HDEL', P .. ':worker:' .. arg.worker, 'drain')
end
redis.call('PUBLISH', P .. ':events', 'resume') -- it looks, and learns it
note_done(arg.request)
return '1'
