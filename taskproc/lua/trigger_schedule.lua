-- Starts a cycle of a schedule now, beside its own instants.
-- KEYS: meta, schedules
-- arg: id, tenant?, trigger (unique name of this request), dead_is_busy
-- returns: '1', or '' when it is unknown, another tenant's, or unique and its last task has not ended
local schedule = read_schedule(arg.id)
local task_id = arg.id .. ':' .. arg.trigger
if not schedule.tenant or arg.tenant and schedule.tenant ~= arg.tenant then
  return ''
elseif schedule.task == task_id or redis.call('EXISTS', task_key(task_id)) == 1 then
  return '1'
elseif is_busy(schedule) then
  return ''
end
start_cycle(arg.id, schedule, task_id, now)
return '1'
