-- Mends a page of both indexes of schedules: each lists those that are there, and no others.
-- KEYS: meta, schedules
-- arg: skip, take
-- returns: '1' when there may be more
local function mend(id)
  local schedule = read_schedule(id)
  if not is_whole(schedule) then
    redis.call('ZREM', KEYS[2], id)
    return nil
  end
  local member = schedule.tenant .. ':' .. id
  redis.call('ZADD', KEYS[2], schedule.next, id)
  redis.call('ZADD', ALL_SCHEDULES, 0, member)
  return member
end

local last = arg.skip + arg.take - 1
local by_instant = redis.call('ZRANGE', KEYS[2], arg.skip, last)
local by_tenant = redis.call('ZRANGE', ALL_SCHEDULES, arg.skip, last)
for _, id in ipairs(by_instant) do
  mend(id)
end
for _, member in ipairs(by_tenant) do
  if mend(member:match(':(.*)') or '') ~= member then
    redis.call('ZREM', ALL_SCHEDULES, member)
  end
end
return (#by_instant == arg.take or #by_tenant == arg.take) and '1' or ''
