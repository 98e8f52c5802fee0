-- A device signs out of one session.   Result: {'done', 1 if its record named the session} | {'gone'} | {'unknown'}
--!use base sessions
--!keys meta gone devices
--!args shift_ms device session
--!lane sure
if not read_meta() then return absent() end
local raw = redis.call('HGET', K.devices, A.device)
if not raw then return {'done', 0} end
local device = cmsgpack.unpack(raw)
local kept, found = {}, device.session == A.session
if found then device.session = SIGNED_OUT end
for _, older in ipairs(device.older) do
  if older == A.session then found = true else kept[#kept + 1] = older end
end
if not found then return {'done', 0} end
device.older = kept
redis.call('HSET', K.devices, A.device, cmsgpack.pack(device))
return {'done', 1}
