-- A worker ends: what it still holds goes back, uncounted.
-- KEYS: meta, workers
-- arg: worker
-- returns: '1' when nothing is left, '' when the call must be repeated
local held = P .. ':worker:' .. arg.worker .. ':tasks'
pass_memory_limit()
for _, id in ipairs(redis.call('SRANDMEMBER', held, 500)) do
  revoke(id, arg.worker, give_back)
end
finish()
if redis.call('EXISTS', held) == 1 then
  return ''
end
redis.call('ZREM', KEYS[2], arg.worker)
redis.call('UNLINK', P .. ':worker:' .. arg.worker)
return '1'
