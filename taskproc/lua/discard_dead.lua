-- Removes dead tasks; their batches keep them counted as failed.
-- KEYS: meta
-- arg: ids, queue, tenant?
-- returns: [ids that were removed]
local removed = {}
for _, id in ipairs(arg.ids) do
  local task = read_task(id, 's', 'q', 't')
  if task[1] == 'x' and task[2] == arg.queue and (not arg.tenant or task[3] == arg.tenant) then
    redis.call('ZREM', queue_key(arg.queue, 'dead'), id)
    redis.call('UNLINK', task_key(id))
    removed[#removed + 1] = id
  end
end
return removed
