-- gc: users whose next expiry has come.   Result: {now ms, backlog, user, score, ...} at most `limit` users
--!use base
--!keys index
--!args shift_ms limit
local now = int(now_ms())
local due = redis.call('ZRANGEBYSCORE', K.index, '-inf', now, 'WITHSCORES', 'LIMIT', 0, A.limit)
return {now, redis.call('ZCOUNT', K.index, '-inf', now), unpack(due)}
