-- Devices say that everything up to a cursor is safe on them; a position only ever rises. came_back: they say it by coming
-- with that cursor; it settles nothing for a device that is still owed a snapshot (claim.lua).
-- REST: device, epoch, seq, tag, ... any number of fours of one user.   Result: {'done'} | {'gone'} | {'unknown'}
-- Invariant: a position counts only if it is in the log as it stands. One that a failover took back would say of another
-- message, which now has its number, that it was delivered.
--!use base
--!keys meta gone devices log
--!args shift_ms came_back
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()

local function is_ours(epoch, seq, tag)
  if epoch ~= meta.epoch or tonumber(seq) > meta.seq then return false end
  local place = seq .. '-' .. tag
  return place == int(meta.seq) .. '-' .. meta.tag or #redis.call('XRANGE', K.log, place, place) == 1
end

for i = REST, #ARGV, 4 do
  local id, epoch, seq, tag = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local raw = redis.call('HGET', K.devices, id)
  if raw then
    local device = cmsgpack.unpack(raw)
    device.seen = now
    if is_ours(epoch, seq, tag) and not (device.resync and A.came_back == '1') then
      if device.epoch ~= meta.epoch then device.epoch, device.acked = meta.epoch, 0 end
      if tonumber(seq) > device.acked then
        device.acked, device.acked_at = tonumber(seq), now
        device.resync = false
      end
    end
    redis.call('HSET', K.devices, id, cmsgpack.pack(device))
  end
end
return {'done'}
