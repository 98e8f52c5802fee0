-- Take an identity from an account, never the last that is linked. Sessions of devices that logged in with it end.
-- Result: {'done', index entry, {sessions that end}} | {'none'} | {'last'} | {'gone'} | {'unknown'}
--!use base sessions
--!keys meta gone devices identities
--!args shift_ms id
--!lane sure
if not read_meta() then return absent() end
local identities = redis.call('HGETALL', K.identities)
local linked, entry = 0, nil
for i = 1, #identities, 2 do
  local identity = cmsgpack.unpack(identities[i + 1])
  if not identity.pending then
    linked = linked + 1
    if identity.id == A.id then entry = identities[i] end
  end
end
if not entry then return {'none'} end
if linked == 1 then return {'last'} end
redis.call('HDEL', K.identities, entry)
local ended = {}
strike_all(A.id, ended)
return {'done', entry, ended}
