-- What is being canceled, the newest first.
-- KEYS: meta, canceled
-- arg: limit
-- returns: [ids of batches and tasks]
return redis.call('ZREVRANGE', KEYS[2], 0, arg.limit - 1)
