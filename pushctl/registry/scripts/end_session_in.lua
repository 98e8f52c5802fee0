-- A session's device has another: this one ends in `ms` at the latest, and its end is not put off any more.
-- Result: 1 | 0: it is not there
--!keys session
--!args ms
--!lane sure
local raw = redis.call('GET', K.session)
if not raw then return 0 end
local record = cmsgpack.unpack(raw)
record[5] = true
redis.call('SET', K.session, cmsgpack.pack(record), 'PX', math.min(tonumber(A.ms), math.max(1, redis.call('PTTL', K.session))))
return 1
