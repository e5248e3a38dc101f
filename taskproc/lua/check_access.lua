-- Tries every command that the scripts use, so that none of them is refused halfway, when some of it is done already.
-- KEYS: meta
-- returns: [commands that the user may not run]
local none = KEYS[#KEYS]
local TRIED = {
  { 'UNLINK' },
  { 'HSET', 'f', 1 }, { 'HGET', 'f' }, { 'HMGET', 'f' }, { 'HEXISTS', 'f' }, { 'HINCRBY', 'f', 1 },
  { 'HLEN' },
  { 'HGETALL' }, -- at most one
  { 'HDEL', 'f' },
  { 'UNLINK' },
  { 'RPUSH', 'a' }, { 'LPUSH', 'a' }, { 'LLEN' }, { 'LRANGE', 0, 0 }, { 'LREM', 1, 'a' }, { 'LPOP', 1 },
  { 'UNLINK' },
  { 'SADD', 'a' }, { 'SCARD' }, { 'SMEMBERS' }, { 'SRANDMEMBER', 1 }, { 'SREM', 'a' },
  { 'UNLINK' },
  { 'ZADD', 1, 'a' }, { 'ZCARD' }, { 'ZSCORE', 'a' }, { 'ZRANGE', 0, 0 }, { 'ZREVRANGE', 0, 0 },
  { 'ZRANGEBYSCORE', 1, 1 }, { 'ZRANGEBYLEX', '-', '+' }, { 'ZLEXCOUNT', '-', '+' }, { 'ZREM', 'a' },
  { 'DEL' }, { 'EXISTS' }, { 'EXPIRE', 1 }, { 'UNLINK' },
}
local denied = {}

-- An error that says anything else, such as OOM, is the reply.
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  local err = type(reply) == 'table' and reply.err
  if err and (err:find('ACL failure in script') or err:find("user executing the script can't")) then
    denied[#denied + 1] = command
  elseif err then
    return reply
  end
end

local failure = try('HDEL', KEYS[1], '') or try('PUBLISH', P .. ':events', '') or try('TIME')
for _, words in ipairs(TRIED) do
  failure = failure or try(words[1], none, unpack(words, 2))
  if denied[#denied] == 'UNLINK' then
    break -- what the others leave behind could not be removed
  end
end
return failure or denied
