-- Adds an entry to what was done by hand; of the entries the last ones are kept.
-- KEYS: meta, audit
-- arg: entry: {by, act, target, tenant?, detail}, keep (how many entries), request (unique name of this request)
-- returns: '1'
if not is_done(arg.request) then
  pass_memory_limit()
  arg.entry.at = string.format('%.0f', now)
  redis.call('RPUSH', KEYS[2], cmsgpack.pack(arg.entry))
  local more = redis.call('LLEN', KEYS[2]) - arg.keep
  for _, first in ipairs(more > 0 and redis.call('LRANGE', KEYS[2], 0, more - 1) or {}) do
    redis.call('LREM', KEYS[2], 1, first) -- who only enqueues may not LPOP
  end
  note_done(arg.request)
end
return '1'
