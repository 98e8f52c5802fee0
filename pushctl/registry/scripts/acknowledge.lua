-- Devices say that everything up to a cursor is safe on them; a position only ever rises. A cursor that is not provably of
-- this log (a failover took it back) says nothing of the messages that now have its numbers. came_back: they say it by
-- coming with that cursor; it settles nothing for a device that is still owed a snapshot (claim.lua).
-- REST: device, epoch, seq, tag, ... of one user, any number of times.   Result: {'done'} | {'gone'} | {'unknown'}
--!use base waiters log
--!keys meta gone devices log waiters
--!args shift_ms came_back
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
for i = REST, #ARGV, 4 do
  local raw = redis.call('HGET', K.devices, ARGV[i])
  if raw then
    local device = cmsgpack.unpack(raw)
    device.seen = now
    local seq, acked = tonumber(ARGV[i + 2]), device.epoch == meta.epoch and device.acked or 0
    local owed = device.resync and A.came_back == '1'
    if seq > acked and not owed and is_ancestor(meta, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) then
      device.epoch, device.acked, device.acked_at = meta.epoch, seq, now
      device.resync = false
      tell_waiters(now)
    end
    redis.call('HSET', K.devices, ARGV[i], cmsgpack.pack(device))
  end
end
return {'done'}
