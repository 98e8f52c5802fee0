-- A claim whose answer did not come is taken back, whether it has run, is still on its way or got lost: it leaves no
-- lease. If it ran, those it displaced hold no lease either, and nobody was told: here is who. May be repeated.
-- Result: {'done', {connection, value, ...displaced by it}} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices presence
--!args shift_ms connection device
if not read_meta() then return absent() end
local ran = redis.call('HDEL', K.presence, A.connection) == 1
local raw = redis.call('HGET', K.devices, A.device)
if not raw then return {'done', {}} end
local device = cmsgpack.unpack(raw)
if device.displaced and device.displaced[1] == A.connection then return {'done', {unpack(device.displaced, 2)}} end
if not ran then
  device.withdrawn = device.withdrawn or {}
  table.insert(device.withdrawn, 1, A.connection)
  device.withdrawn[5] = nil
  redis.call('HSET', K.devices, A.device, cmsgpack.pack(device))
end
return {'done', {}}
