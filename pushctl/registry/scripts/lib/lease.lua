-- A shard's lease: {daemon, fence, until}. Whoever shows the fence it was given may act, and thereby renews the lease;
-- once another daemon has taken it (or it was given back) the fence is another.
local function held(now)
  if redis.call('HGET', K.lease, 'fence') ~= A.fence then return false end
  redis.call('HSET', K.lease, 'until', int(now + tonumber(A.lease_ms)))
  return true
end
