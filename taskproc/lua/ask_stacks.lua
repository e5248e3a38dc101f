-- Somebody wants to know what a worker is doing: its heartbeat's thread finds the question, and answers it by
-- `note_stacks`.
-- KEYS: meta, workers
-- arg: worker
-- returns: the number of the question, or '' when the worker is unknown
if not redis.call('ZSCORE', KEYS[2], arg.worker) then
  return ''
end
local key = P .. ':worker:' .. arg.worker
local asked = tonumber(redis.call('HGET', key, 'asked') or 0)
local number = string.format('%.0f', asked and asked >= 0 and asked < 10 ^ 14 and asked + 1 or 1)
redis.call('HSET', key, 'asked', number)
return number
