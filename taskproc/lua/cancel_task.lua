-- Cancels one task: a queued one is dropped, a running one is told.
-- KEYS: meta, canceled
-- arg: id, tenant?, request (unique name of this request)
-- returns: '1' when it is, or will be, canceled; '' when it is unknown, dead or another tenant's
if is_done(arg.request) then
  return '1'
end
local task = read_task(arg.id, 's', 'q', 't', 'w', 'k')
local state, queue, tenant, awaited = task[1], task[2], task[3], task[4]
if not state or not queue or not tenant or state == 'x' or arg.tenant and tenant ~= arg.tenant then
  return ''
end
pass_memory_limit()
if state == 'r' then
  drop_ready(arg.id, queue, tenant, awaited)
elseif state == 'd' then
  redis.call('ZREM', queue_key(queue, 'delayed'), arg.id)
  end_canceled(arg.id, awaited)
elseif state == 'h' then
  redis.call('LREM', batch_key(batch_of(arg.id), 'then'), 1, arg.id)
  forget(arg.id)
elseif task[5] then
  return '1'
else
  redis.call('HSET', task_key(arg.id), 'k', '1')
  redis.call('ZADD', KEYS[2], now, arg.id)
  redis.call('PUBLISH', P .. ':events', 'cancel')
end
finish()
note_done(arg.request)
return '1'
