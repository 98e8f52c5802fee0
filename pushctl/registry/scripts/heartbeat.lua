-- A socket server says that it lives.
-- Result: {'done', now ms} | {'fenced'}: a newer generation of this id has started
--!use base
--!keys seen rows generations
--!args shift_ms server generation row
if tonumber(redis.call('HGET', K.generations, A.server) or '0') > tonumber(A.generation) then return {'fenced'} end
local now = now_ms()
redis.call('HSET', K.seen, A.server, int(now))
redis.call('HSET', K.rows, A.server, A.row)
return {'done', int(now)}
