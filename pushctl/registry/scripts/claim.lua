-- A device has connected: lease its presence, and learn which connection of the same device it displaces. They stand in
-- the device, too, for a claim whose answer gets lost (withdraw.lua); one that was withdrawn before it ran does nothing.
-- A hello with a lower filter than the device's last forgets what it acknowledged: it never saw what was below.
-- A session that ended meanwhile claims nothing: its end was told to those who hold leases.
-- Result: {'done', 1 if the filter was lowered, {connection, value, ...displaced}} | {'no_device'} | {'ended'}
--         {'withdrawn'} | {'gone'} | {'unknown'}
--   value = '<server> <generation> <device>'
--!use base sessions
--!keys meta gone devices presence
--!args shift_ms connection server generation device session rank lease_ms
if not read_meta() then return absent() end
local raw = redis.call('HGET', K.devices, A.device)
if not raw then return {'no_device'} end
local device = cmsgpack.unpack(raw)
if not names(device, A.session) then return {'ended'} end
for _, withdrawn in ipairs(device.withdrawn or {}) do
  if withdrawn == A.connection then return {'withdrawn'} end
end
-- Until it acknowledges something it owes itself the snapshot, however often its connection is cut before.
if tonumber(A.rank) < device.rank then device.resync = true end
local lowered = device.resync
if lowered then device.epoch, device.acked = '', 0 end
device.rank, device.seen = tonumber(A.rank), now_ms()
local displaced = {}
local presence = redis.call('HGETALL', K.presence)
for i = 1, #presence, 2 do
  if string.match(presence[i + 1], '%S+$') == A.device and presence[i] ~= A.connection then
    redis.call('HDEL', K.presence, presence[i])
    displaced[#displaced + 1] = presence[i]
    displaced[#displaced + 1] = presence[i + 1]
  end
end
local before = device.displaced
device.displaced = #displaced > 0 and {A.connection, unpack(displaced)} or nil
-- If that one did not hear its answer, nobody told those that it displaced.
if before and displaced[1] == before[1] then
  for i = 2, #before do displaced[#displaced + 1] = before[i] end
end
redis.call('HSET', K.devices, A.device, cmsgpack.pack(device))
redis.call('HSET', K.presence, A.connection, A.server .. ' ' .. A.generation .. ' ' .. A.device)
redis.call('PEXPIRE', K.presence, A.lease_ms)
return {'done', lowered and 1 or 0, displaced}
