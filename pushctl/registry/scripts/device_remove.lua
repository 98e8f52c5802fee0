-- Remove a device.   Result: {'done', {session it has or had, ...}} | {'none'} | {'gone'} | {'unknown'}
--!use base sessions
--!keys meta gone devices
--!args shift_ms device
--!lane sure
if not read_meta() then return absent() end
local raw = redis.call('HGET', K.devices, A.device)
if not raw then return {'none'} end
redis.call('HDEL', K.devices, A.device)
local ended = {}
strike(cmsgpack.unpack(raw), ended)
return {'done', ended}
