-- Records of tasks.
-- KEYS: meta
-- arg: ids (at most 1,000)
-- returns: for each [s q t c p n f e died error_type error_message traceback l u i h w, due time or lease end],
--   or '' if it is gone
local FIELDS = {
  's', 'q', 't', 'c', 'p', 'n', 'f', 'e', 'died', 'error_type', 'error_message', 'traceback', 'l', 'u', 'i', 'h',
  'w',
}
local rows = {}
for number, id in ipairs(arg.ids) do
  local task = read_task(id, unpack(FIELDS))
  rows[number] = ''
  if task[1] then
    local index = task[1] == 'd' and 'delayed' or task[1] == 'l' and 'leased'
    task[18] = index and task[2] and redis.call('ZSCORE', queue_key(task[2], index), id)
    rows[number] = task
  end
end
return rows
