-- The pauses that are on.
-- KEYS: meta, pauses
-- arg: only ([what…], those that are asked about), or limit
-- returns: [[what, until, since, reason, by]…]; what: '*', 'queue:name' or 'tenant:name'
local rows = {}

local function add_row(what, ends)
  local about = redis.call('HMGET', about_pause(what), 'since', 'reason', 'by')
  rows[#rows + 1] = { what, ends, unpack(about, 1, 3) }
end

if arg.only then
  for _, what in ipairs(arg.only) do
    if is_paused(what) then
      add_row(what, redis.call('ZSCORE', KEYS[2], what))
    end
  end
else
  local later = '(' .. string.format('%.0f', now)
  local found = redis.call('ZRANGEBYSCORE', KEYS[2], later, '+inf', 'WITHSCORES', 'LIMIT', 0, arg.limit)
  for position = 1, #found, 2 do
    add_row(found[position], found[position + 1])
  end
end
return rows
