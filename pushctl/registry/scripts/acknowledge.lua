-- A device says that everything up to (epoch, seq) is safe on it; a position only ever rises.
-- REST: device, epoch, seq, ... any number of triples of one user.   Result: {'done'} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices
--!args shift_ms
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
for i = REST, #ARGV, 3 do
  local raw = redis.call('HGET', K.devices, ARGV[i])
  if raw then
    local device = cmsgpack.unpack(raw)
    device.seen = now
    if ARGV[i + 1] == meta.epoch and tonumber(ARGV[i + 2]) <= meta.seq then
      if device.epoch ~= meta.epoch then device.epoch, device.acked = meta.epoch, 0 end
      if tonumber(ARGV[i + 2]) > device.acked then
        device.acked, device.acked_at = tonumber(ARGV[i + 2]), now
        device.resync = false
      end
    end
    redis.call('HSET', K.devices, ARGV[i], cmsgpack.pack(device))
  end
end
return {'done'}
