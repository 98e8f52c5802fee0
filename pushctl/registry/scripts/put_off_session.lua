-- A session is used: it ends in `ms`, not before, unless its device has another by now.   Result: 1 | 0: nothing changed
--!keys session
--!args ms
local raw = redis.call('GET', K.session)
if not raw or cmsgpack.unpack(raw)[5] or redis.call('PTTL', K.session) >= tonumber(A.ms) then return 0 end
return redis.call('PEXPIRE', K.session, A.ms)
