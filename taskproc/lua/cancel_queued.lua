-- One step of counting the queued tasks of a canceled batch, and of marking its dead ones: whole chunks, up to `limit`
-- tasks, or one larger chunk.
-- KEYS: meta, canceled
-- arg: batch, limit
-- returns: '1' when there are more chunks
local chunks = batch_key(arg.batch, 'chunks')
local delayed = {}

local function cancel_one(id)
  local task = read_task(id, 's', 'q', 't', 'w')
  if not task[2] or not task[3] then
    return
  elseif task[1] == 'r' then
    drop_ready(id, task[2], task[3], task[4])
  elseif task[1] == 'd' then
    append(delayed, task[2], id)
    end_canceled(id, task[4])
  elseif task[1] == 'x' then
    redis.call('HSET', task_key(id), 'canceled', '1') -- it stays dead, also when its batch is forgotten
  end
end

pass_memory_limit()
if not is_canceled(arg.batch) then
  if redis.call('EXISTS', task_key(arg.batch), batch_key(arg.batch)) == 0 then
    redis.call('ZREM', KEYS[2], arg.batch) -- what was canceled is gone, as after a loss of data
  end
  return ''
end
local room = arg.limit
while room > 0 do
  local chunk = redis.call('ZRANGE', chunks, 0, 0, 'WITHSCORES')
  if not chunk[1] or room < arg.limit and tonumber(chunk[2]) > room then
    break
  end
  for number = 0, chunk[2] - 1 do
    cancel_one(arg.batch .. '.' .. chunk[1] .. '.' .. string.format('%d', number))
  end
  redis.call('ZREM', chunks, chunk[1])
  room = room - math.max(chunk[2], 1)
end
for queue, ids in pairs(delayed) do
  call_many('ZREM', queue_key(queue, 'delayed'), ids)
end
finish()
return redis.call('EXISTS', chunks) == 1 and '1' or ''
