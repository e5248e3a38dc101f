-- Adds single tasks, each unless it is there already.
-- KEYS: meta, tenants
-- arg: tasks: [{id, q, t, c, n, i, p?, x?, after?, at?}] (after: ms from now, at: epoch ms); ARGV[2…]: the data of each
-- returns: how many were new
local added = 0
for number, task in ipairs(arg.tasks) do
  if redis.call('EXISTS', task_key(task.id)) == 0 then
    local due = task.at or task.after and now + task.after
    write_task(task.id, task, ARGV[number + 1], due and due > now and 'd' or 'r')
    place(task.q, task.t, task.id, due)
    redis.call('ZADD', KEYS[2], now, task.t)
    added = added + 1
  end
end
flush_ready()
return added
