-- Takes back the tasks of workers that have not beaten in time.
-- KEYS: meta, workers
-- arg: timeout (ms), max_recoveries, limit, request (unique name of this request)
-- returns: '1' when there is more to do;
--   [record, data of each task dead-lettered as lost]; a repeat of the request tells of the same ones
local function take_back(id, queue, tenant, awaited, token, began)
  local recoveries = increment(id, 'o')
  local attempts = read_task(id, 'a')[1]
  redis.call('HSET', task_key(id), 'a', with_attempt(attempts, 'lost', token, began, {}))
  if recoveries < arg.max_recoveries then
    put_back(id, queue, tenant, 0, false)
    return
  end
  bury(id, queue, awaited, {
    type = 'WorkerLost', message = 'its workers died ' .. recoveries .. ' times while they ran it', traceback = '',
  })
end

local function note_lost(id)
  note_done(arg.request)
  note_done(arg.request .. ' ' .. id) -- at the same time
end

local function tell_again(noted)
  local lost = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', DONE, noted, noted, 'LIMIT', 0, 1000)) do
    local request, id = name:match('^(%S+) (.*)$')
    if request == arg.request and redis.call('EXISTS', task_key(id)) == 1 then
      tell(lost, read_record(id), batch_of(id))
    end
  end
  return { '1', lost }
end

local noted = is_done(arg.request)
if noted then
  return tell_again(noted)
end
pass_memory_limit()
if nobody_can_be_blamed(arg.timeout) then
  return { '', {} }
end
local worker = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
if not worker then
  return { '', {} }
end
if type(redis.pcall('HLEN', P .. ':worker:' .. worker)) == 'table' then
  redis.call('UNLINK', P .. ':worker:' .. worker) -- it is no hash; what the worker runs stands elsewhere
end
redis.call('HSET', P .. ':worker:' .. worker, 'dead', '1')
local lost, room = {}, MOST_TOLD
for _, id in ipairs(redis.call('SRANDMEMBER', P .. ':worker:' .. worker .. ':tasks', arg.limit)) do
  revoke(id, worker, take_back)
  local task = read_record(id)
  if task.s == 'x' then
    room = room - tell(lost, task, batch_of(id))
    note_lost(id)
  end
  if room <= 0 then
    break
  end
end
finish()
if redis.call('EXISTS', P .. ':worker:' .. worker .. ':tasks') == 0 then
  redis.call('ZREM', KEYS[2], worker)
  redis.call('UNLINK', P .. ':worker:' .. worker)
end
return { '1', lost }
