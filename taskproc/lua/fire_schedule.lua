-- Moves a schedule on to its next instant, and starts the cycle in between; of many processes that try, one does it.
-- KEYS: meta, schedules
-- arg: id, from (the `next` that was read), instant? (of the cycle to start; without it `next` is only corrected),
--   to (the new `next`), dead_is_busy (whether a dead task counts as not ended)
-- returns: 'fired', 'skipped' (the schedule is paused, it is too late, or the task of an earlier cycle has not
--   ended), 'stale', 'paused'
local key = schedule_key(arg.id)
local schedule = read_schedule(arg.id)
if not is_whole(schedule) or tonumber(schedule.next) ~= arg.from then
  return 'stale'
elseif arg.instant and everything_is_paused() then
  return 'paused'
end
pass_memory_limit()
redis.call('HSET', key, 'next', arg.to)
redis.call('ZADD', KEYS[2], arg.to, arg.id)
if not arg.instant or schedule.paused then
  return 'skipped'
end
local not_after = schedule.expire and arg.instant + schedule.expire
local task_id = arg.id .. ':' .. string.format('%.0f', arg.instant)
if not_after and now > not_after or is_busy(schedule) or redis.call('EXISTS', task_key(task_id)) == 1 then
  return 'skipped'
end
start_cycle(arg.id, schedule, task_id, arg.instant, not_after or nil)
return 'fired'
