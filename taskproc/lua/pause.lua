-- Stops handing out tasks of everything, a queue or a tenant, or goes on with it; a pause that is there already gets
-- another end and reason. A request names the change before it, so that a copy of it that comes late, after another
-- change, does nothing.
-- KEYS: meta, pauses
-- arg: what ('*', 'queue:name' or 'tenant:name'), paused (boolean), change (how many changes there were);
--   of a pause: reason, by, until? (ms) or for? (ms from now)
-- returns: how many changes there are now, '1' if all is as it is asked for
local about = about_pause(arg.what)

local function is_as_asked()
  local ends = redis.call('ZSCORE', KEYS[2], arg.what)
  if not arg.paused then
    return not ends and not (arg.what == '*' and redis.call('HEXISTS', KEYS[1], 'paused') == 1)
  end
  local said = redis.call('HMGET', about, 'reason', 'by')
  local same_end = not arg['for'] and tonumber(ends or 0) == (arg['until'] or ENDLESS)
  return ends and same_end and said[1] == arg.reason and said[2] == arg.by
end

local function pause()
  local since = is_paused(arg.what) and redis.call('HGET', about, 'since') or now
  local ends = arg['for'] and now + arg['for'] or arg['until'] or ENDLESS
  redis.call('HSET', about, 'since', since, 'reason', arg.reason, 'by', arg.by)
  redis.call('ZADD', KEYS[2], ends, arg.what)
  if arg.what == '*' then
    redis.call('HSET', KEYS[1], 'paused', since)
  end
  return true
end

local changes = tonumber(redis.call('HGET', KEYS[1], 'changes') or 0)
local done = is_as_asked()
if changes == arg.change and not done then
  pass_memory_limit()
  changes = redis.call('HINCRBY', KEYS[1], 'changes', 1)
  done = (arg.paused and pause or end_pause)(arg.what)
  note_pausing()
end
return { changes, done and '1' or '' }
