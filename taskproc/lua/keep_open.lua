-- A producer's sign of life for the batches that it is still sending.
-- KEYS: meta, open
-- arg: entries: ['batch/producer'], keep (ms)
-- returns: for each '1', or '' when it was given up meanwhile
local kept = {}
pass_memory_limit()
for number, entry in ipairs(arg.entries) do
  kept[number] = redis.call('ZSCORE', KEYS[2], entry) and '1' or ''
  redis.call('ZADD', KEYS[2], 'XX', now + arg.keep, entry)
end
return kept
