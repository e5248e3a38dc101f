-- A schedule starts no cycles at its instants any more, or goes on with it.
-- KEYS: meta
-- arg: id, tenant?, paused (boolean), request (unique name of this request)
-- returns: '1', or '' when it is unknown or another tenant's
local tenant = read_hash(schedule_key(arg.id), 'tenant')[1]
if is_done(arg.request) then
  return '1'
elseif not tenant or arg.tenant and tenant ~= arg.tenant then
  return ''
end
pass_memory_limit()
if arg.paused then
  redis.call('HSET', schedule_key(arg.id), 'paused', now)
else
  redis.call('HDEL', schedule_key(arg.id), 'paused')
end
note_done(arg.request)
return '1'
