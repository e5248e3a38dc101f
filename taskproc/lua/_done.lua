-- Requests that were carried out within the last minute: a repeat, whose first reply was lost, is answered alike. Only
-- for what leaves no other trace.
local DONE = P .. ':done'
local KEPT = 60000 -- ms

local function is_done(request)
  return redis.call('ZSCORE', DONE, request)
end

local function forget_done()
  local old = redis.call('ZRANGEBYSCORE', DONE, '-inf', now - KEPT, 'LIMIT', 0, 500)
  if #old > 0 then
    redis.call('ZREM', DONE, unpack(old))
  end
  return #old == 500
end

local function note_done(request)
  redis.call('ZADD', DONE, now, request)
  forget_done()
end
