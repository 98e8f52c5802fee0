-- A user's identities, and the one that a device logged in with.
-- Result: {'done', {entry, msgpack, ...}, identity id or ''} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices identities
--!args shift_ms device
if not read_meta() then return absent() end
local raw = redis.call('HGET', K.devices, A.device)
return {'done', redis.call('HGETALL', K.identities), raw and cmsgpack.unpack(raw).identity or ''}
