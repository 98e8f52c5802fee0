-- gc: throw away what has expired, at most `limit` messages.
-- Result: {'done', how many went, next expiry ms or ''} | {'gone'} | {'unknown'}
--!use base messages
--!keys meta gone messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry
--!args shift_ms limit
local meta = read_meta()
if not meta then return absent() end
mend_messages(meta)
local dropped = drop_expired(now_ms(), tonumber(A.limit))
local first = redis.call('ZRANGE', K.expiry, 0, 0, 'WITHSCORES')
return {'done', dropped, first[2] or ''}
