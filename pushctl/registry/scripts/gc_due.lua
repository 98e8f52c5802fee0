-- gc: users whose next expiry has come, the longest overdue first, at most `limit`.
-- Result: {'done', now ms, how many are due, user, score, ...} | {'fenced'}: the lease is another daemon's
--!use base lease
--!keys lease index
--!args shift_ms fence lease_ms limit
local now = now_ms()
if not held(now) then return {'fenced'} end
local due = redis.call('ZRANGEBYSCORE', K.index, '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, A.limit)
return {'done', int(now), redis.call('ZCOUNT', K.index, '-inf', int(now)), unpack(due)}
