-- What a worker is doing, as its heartbeat's thread has found: kept for a while.
-- KEYS: meta
-- arg: worker, asked (the number of the question), keep (s)
-- ARGV[2]: what it is doing
-- returns: '1'
local key = P .. ':worker:' .. arg.worker .. ':stacks'
redis.call('HSET', key, 'asked', arg.asked, 'at', now, 'stacks', ARGV[2])
redis.call('EXPIRE', key, arg.keep)
return '1'
