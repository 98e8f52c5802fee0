-- Take an identity from an account, never the last that is linked. Sessions of devices that logged in with it end.
-- Result: {'done', {its entries in the index}, {sessions that end}} | {'none'} | {'last'} | {'gone'} | {'unknown'}
--!use base sessions identities
--!keys meta gone devices identities
--!args shift_ms id
--!lane sure
if not read_meta() then return absent() end
local entries, all = {}, redis.call('HGETALL', K.identities)
for i = 1, #all, 2 do
  local identity = cmsgpack.unpack(all[i + 1])
  if identity.id == A.id and not identity.pending then entries[#entries + 1] = all[i] end
end
if #entries == 0 then return {'none'} end
if linked() == 1 then return {'last'} end
redis.call('HDEL', K.identities, unpack(entries))
local ended = {}
strike_all(A.id, ended)
return {'done', entries, ended}
