-- Compares what a worker holds with what it knows that it holds, after a reply was lost or Redis was away.
-- Fetches with a nonce up to this one are refused from now on; what they leased and the worker does not know goes back.
-- KEYS: meta, workers
-- arg: worker, nonce, known: [{id, token}]
-- returns: 'ok', 'gone' (the worker is not known any more) or 'late' (a copy of an earlier request: nothing was done);
--   [positions in `known`, from 0, of those that it no longer holds]
local key = P .. ':worker:' .. arg.worker
local worker = redis.call('HMGET', key, 'nonce', 'dead')
if tonumber(worker[1] or 0) > arg.nonce then
  return { 'late', {} }
end

local known, lost = {}, {}
for number, lease in ipairs(arg.known) do
  local task = read_task(lease.id, 's', 'l')
  if task[1] == 'l' and task[2] == lease.token then
    known[lease.id] = true
  else
    lost[#lost + 1] = number - 1
  end
end

pass_memory_limit()
for _, id in ipairs(redis.call('SMEMBERS', key .. ':tasks')) do -- at most max_workers
  local token = read_task(id, 'l')[1]
  if not known[id] and (not token or (nonce_of(token) or 0) <= arg.nonce) then
    revoke(id, arg.worker, give_back)
  end
end
finish()
if worker[2] or not redis.call('ZSCORE', KEYS[2], arg.worker) then
  return { 'gone', lost }
end
redis.call('HSET', key, 'nonce', arg.nonce)
return { 'ok', lost }
