-- Adds or changes a schedule. With the same cron and time zone it keeps its next instant; what has become of it
-- it keeps always.
-- KEYS: meta, schedules
-- arg: id, next (ms, for a new cron or time zone), owner?, request (unique name of this request),
--   schedule: {tenant, queue, scope, cron, timezone, seconds, unique?, expire?, retries, invisibility, auto_extend?,
--   call, topic?}; ARGV[2]: the data of its tasks
-- returns: the next instant, or '' when the id is another tenant's; of a repeat the one that it would have
local key = schedule_key(arg.id)
local KEPT_FIELDS = { 'task', 'paused', 'last', 'started', 'outcome', 'ended' }
local before = read_hash(key, 'tenant', 'cron', 'timezone', 'seconds', 'next', 'owner', unpack(KEPT_FIELDS))
if is_done(arg.request) then
  return string.format('%.0f', whole(before[5]) or arg.next)
elseif before[1] and before[1] ~= arg.schedule.tenant then
  if not arg.owner or before[6] ~= arg.owner then
    return ''
  end
  redis.call('ZREM', ALL_SCHEDULES, before[1] .. ':' .. arg.id) -- its own code gives it to another tenant
end
local same = before[2] == arg.schedule.cron and before[3] == arg.schedule.timezone
  and before[4] == string.format('%d', arg.schedule.seconds)
local next = same and whole(before[5]) or arg.next

local fields = { 'next', next, 'data', ARGV[2] }
for name, value in pairs(arg.schedule) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('DEL', key)
redis.call('HSET', key, unpack(fields))
for position, name in ipairs(KEPT_FIELDS) do
  if before[6 + position] then
    redis.call('HSET', key, name, before[6 + position])
  end
end
if arg.owner then
  redis.call('HSET', key, 'owner', arg.owner)
  redis.call('SADD', P .. ':declared:' .. arg.owner, arg.id)
end
redis.call('ZADD', KEYS[2], next, arg.id)
redis.call('ZADD', ALL_SCHEDULES, 0, arg.schedule.tenant .. ':' .. arg.id)
redis.call('ZADD', P .. ':tenants', now, arg.schedule.tenant)
redis.call('PUBLISH', P .. ':events', 'schedule')
note_done(arg.request)
return string.format('%.0f', next)
