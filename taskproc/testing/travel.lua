-- Moves the time of the prefix on, and lets its workers look for schedules that are due.
-- KEYS: meta
-- arg: ahead (ms, in all)
redis.call('HSET', KEYS[1], 'ahead', arg.ahead)
redis.call('PUBLISH', P .. ':events', 'schedule')
