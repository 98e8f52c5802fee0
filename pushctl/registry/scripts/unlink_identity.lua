-- Take an identity from an account, never the last that is linked. Sessions of devices that logged in with it end.
-- Result: {'done', {index entries}, {sessions that end}} | {'none'} | {'last'} | {'gone'} | {'unknown'}
--!use base sessions identities
--!keys meta gone devices identities
--!args shift_ms id
--!lane sure
if not read_meta() then return absent() end
local found = false
each_entry(A.id, function(entry) found = found or not cmsgpack.unpack(redis.call('HGET', K.identities, entry)).pending end)
if not found then return {'none'} end
local _, linked = count_identities()
if linked == 1 then return {'last'} end
local entries = drop(A.id)
local ended = {}
strike_all(A.id, ended)
return {'done', entries, ended}
