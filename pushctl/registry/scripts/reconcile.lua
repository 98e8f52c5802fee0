-- A socket server looks after one user's connections: is the log where it thinks, are its leases there?
-- REST: connection, device, ... A missing lease is claimed again, unless another connection of that device holds one
-- (it was displaced) or the device is gone. A device that stays connected is seen once a day.
-- Result: {'done', epoch, seq, tag, {'kept' | 'claimed' | 'displaced' | 'no_device', ...}} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices presence
--!args shift_ms server generation lease_ms
local meta = read_meta()
if not meta then return absent() end
local holder = {}
local presence = redis.call('HGETALL', K.presence)
for i = 1, #presence, 2 do holder[string.match(presence[i + 1], '%S+$')] = presence[i] end
local states = {}
for i = REST, #ARGV, 2 do
  local connection, device = ARGV[i], ARGV[i + 1]
  local state, raw = 'kept', redis.call('HGET', K.devices, device)
  if raw then
    local known, now = cmsgpack.unpack(raw), now_ms()
    if known.seen < now - 86400000 then
      known.seen = now
      redis.call('HSET', K.devices, device, cmsgpack.pack(known))
    end
  end
  if not raw then
    state = 'no_device'
  elseif holder[device] and holder[device] ~= connection then
    state = 'displaced'
  elseif not holder[device] then
    state = 'claimed'
    redis.call('HSET', K.presence, connection, A.server .. ' ' .. A.generation .. ' ' .. device)
  end
  states[#states + 1] = state
end
redis.call('PEXPIRE', K.presence, A.lease_ms)
return {'done', meta.epoch, int(meta.seq), meta.tag, states}
