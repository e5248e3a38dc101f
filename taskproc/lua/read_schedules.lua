-- Schedules that are due, or a page of a tenant's, or of all.
-- KEYS: meta, schedules
-- arg: due (boolean), or tenant?; skip, take (at most 1,000)
-- returns: now, the first instant later than that ('' if there is none),
--   [[id, tenant, queue, scope, cron, timezone, seconds, unique, expire, next, paused, last,
--   started, outcome, ended, owner]…],
--   '1' if an index lacks some schedule, see mend_schedules; [ids of due ones that are damaged: they are due no more]
local TOLD = {
  'id', 'tenant', 'queue', 'scope', 'cron', 'timezone', 'seconds', 'unique', 'expire', 'next',
  'paused', 'last', 'started', 'outcome', 'ended', 'owner',
}

local function of_tenant()
  local first, last = '[' .. arg.tenant .. ':', '(' .. arg.tenant .. ';' -- which is what follows ':'
  local ids = redis.call('ZRANGEBYLEX', ALL_SCHEDULES, first, last, 'LIMIT', arg.skip, arg.take)
  for position, member in ipairs(ids) do
    ids[position] = member:sub(#arg.tenant + 2)
  end
  return ids
end

local function wanted()
  if arg.due then
    return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', arg.skip, arg.take)
  end
  return arg.tenant and of_tenant() or redis.call('ZRANGE', KEYS[2], arg.skip, arg.skip + arg.take - 1)
end

local function row_of(schedule)
  local row = {}
  for position, name in ipairs(TOLD) do
    row[position] = schedule[name] or false
  end
  return row
end

local rows, damaged = {}, {}
for _, id in ipairs(wanted()) do
  local schedule = read_schedule(id)
  if not is_whole(schedule) then
    damaged[#damaged + 1] = id
  elseif arg.due and tonumber(schedule.next) > now then
    redis.call('ZADD', KEYS[2], schedule.next, id) -- its record says when
  else
    rows[#rows + 1] = row_of(schedule)
  end
end
if arg.due and #damaged > 0 then
  redis.call('ZREM', KEYS[2], unpack(damaged))
end
local later = '(' .. string.format('%.0f', now)
local first = redis.call('ZRANGEBYSCORE', KEYS[2], later, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local torn = redis.call('ZCARD', KEYS[2]) ~= redis.call('ZCARD', ALL_SCHEDULES)
return { tostring(now), first[2] or '', rows, torn and '1' or '', arg.due and damaged or {} }
