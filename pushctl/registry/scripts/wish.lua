-- An operator wishes something of this start of a socket server, which learns of it with its next heartbeat.
-- Result: 'done' | 'restarted': a newer generation of this id has started, or this one said goodbye
--!keys rows generations wishes
--!args server generation wish
if redis.call('HGET', K.generations, A.server) ~= A.generation then return 'restarted' end
if redis.call('HEXISTS', K.rows, A.server) == 0 then return 'restarted' end
redis.call('HSET', K.wishes, A.server, A.generation .. ' ' .. A.wish)
return 'done'
