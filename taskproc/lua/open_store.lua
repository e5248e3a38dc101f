-- Marks an unused prefix with the version of this layout; returns the version that it has.
-- KEYS: meta
-- arg: schema
local schema = redis.call('HGET', KEYS[1], 'schema')
if schema then
  return schema -- whoever only looks may not write
end
pass_memory_limit()
redis.call('HSET', KEYS[1], 'schema', arg.schema)
return arg.schema
