-- Removes a schedule; a task that it has started goes on.
-- KEYS: meta, schedules
-- arg: id, tenant?, owner? (only if it is still declared by this one), request (unique name of this request)
-- returns: '1', or '' when it is unknown or another tenant's
if is_done(arg.request) then
  return '1'
end
local schedule = read_hash(schedule_key(arg.id), 'tenant', 'owner')
if arg.owner then
  redis.call('SREM', P .. ':declared:' .. arg.owner, arg.id)
end
if not schedule[1] or arg.tenant and schedule[1] ~= arg.tenant or arg.owner and schedule[2] ~= arg.owner then
  return ''
end
pass_memory_limit()
redis.call('UNLINK', schedule_key(arg.id))
redis.call('ZREM', KEYS[2], arg.id)
redis.call('ZREM', ALL_SCHEDULES, schedule[1] .. ':' .. arg.id)
if schedule[2] then
  redis.call('SREM', P .. ':declared:' .. schedule[2], arg.id)
end
note_done(arg.request)
return '1'
