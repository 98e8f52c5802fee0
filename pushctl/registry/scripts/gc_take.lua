-- gc: a daemon takes a lease for lease_ms, or renews its own.   Result: fence | false: another daemon holds it
-- Invariant: fences only rise, also when Redis lost the lease: the first one is the time. A lease that ends later than
-- any can end (Redis TIME stepped back) is as good as over.
--!use base
--!keys lease
--!args shift_ms daemon lease_ms
local now, ms = now_ms(), tonumber(A.lease_ms)
local lease = redis.call('HMGET', K.lease, 'daemon', 'fence', 'until')
local left = tonumber(lease[3] or '0') - now
local alive = left > 0 and left <= ms
if alive and lease[1] ~= A.daemon then return false end
local fence = alive and lease[2] or int(math.max(now, tonumber(lease[2] or '0') + 1))
redis.call('HSET', K.lease, 'daemon', A.daemon, 'fence', fence, 'until', int(now + ms))
return fence
