-- gc: a user was visited. Its entry in the index moves to its next expiry; it goes only when nothing expires, at two
-- visits a minute apart, and nobody has set it anew meanwhile.
-- Result: 'moved' | 'once' | 'removed' | 'changed' | 'fenced': the lease is another daemon's, nothing was done
--!use base lease
--!keys lease index idle
--!args shift_ms fence lease_ms user score next
local now = now_ms()
if not held(now) then return 'fenced' end
if redis.call('ZSCORE', K.index, A.user) ~= A.score then return 'changed' end
if A.next ~= '' then
  redis.call('HDEL', K.idle, A.user)
  redis.call('ZADD', K.index, A.next, A.user)
  return 'moved'
end
if redis.call('HDEL', K.idle, A.user) == 1 then
  redis.call('ZREM', K.index, A.user)
  return 'removed'
end
redis.call('HSET', K.idle, A.user, 1)
redis.call('ZADD', K.index, int(now + 60000), A.user)
return 'once'
