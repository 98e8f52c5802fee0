-- A socket server says that it lives, and learns what is wished of it.
-- Result: {'done', now ms, ms since its last heartbeat or since an older generation's; 0: there was none, wish or '',
--          changes of broadcasts so far}
--         {'fenced'}: a newer generation of this id has started
--!use base
--!keys seen rows generations wishes broadcasts
--!args shift_ms server generation row
local newest = tonumber(redis.call('HGET', K.generations, A.server) or '0')
if newest > tonumber(A.generation) then return {'fenced'} end
-- A failover may have taken back that this generation began; what is older must stay fenced.
if newest < tonumber(A.generation) then redis.call('HSET', K.generations, A.server, A.generation) end
local now = now_ms()
local before = tonumber(redis.call('HGET', K.seen, A.server) or int(now))
redis.call('HSET', K.seen, A.server, int(now))
redis.call('HSET', K.rows, A.server, A.row)
local asked, wish = string.match(redis.call('HGET', K.wishes, A.server) or '', '^(%d+) (.*)$')
if asked and asked ~= A.generation then
  -- Of an earlier start of this id, which ended without a goodbye.
  redis.call('HDEL', K.wishes, A.server)
  wish = nil
end
return {'done', int(now), int(now - before), wish or '', redis.call('HGET', K.broadcasts, '') or '0'}
