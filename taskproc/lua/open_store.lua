-- Marks an unused prefix with the version of this layout; returns the version that it has.
-- KEYS: meta
-- arg: schema
redis.call('HSETNX', KEYS[1], 'schema', arg.schema)
return redis.call('HGET', KEYS[1], 'schema')
