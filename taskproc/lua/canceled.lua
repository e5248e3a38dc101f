-- A page of what is being canceled, the oldest first.
-- KEYS: meta, canceled
-- arg: limit, since? (where this page begins, as the one before has said)
-- returns: [ids of batches and tasks; the first ones may be the last ones of the page before], where the next page
--   begins, or ''
local rows = redis.call('ZRANGEBYSCORE', KEYS[2], arg.since or '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, arg.limit)
local ids = {}
for position = 1, #rows, 2 do
  ids[#ids + 1] = rows[position]
end
if #ids < arg.limit then
  return { ids, '' }
end
local last = tonumber(rows[#rows])
if last == tonumber(arg.since or '') then
  last = last + 1 -- more than a page in one millisecond: the rest of them is not told
end
return { ids, string.format('%.0f', last) }
