-- Starts a cycle of a schedule now, beside its own instants.
-- KEYS: meta, schedules
-- arg: id, tenant?, trigger (unique name of this request), dead_is_busy
-- returns: '1', or '' when it is unknown, another tenant's, or unique and its last task has not ended
local schedule = read_schedule(arg.id)
local task_id = arg.id .. ':' .. arg.trigger
if not is_whole(schedule) or arg.tenant and schedule.tenant ~= arg.tenant then
  return ''
elseif is_done(task_id) then
  return '1'
elseif is_busy(schedule) then
  return ''
end
start_cycle(arg.id, schedule, task_id, now)
note_done(task_id)
return '1'
