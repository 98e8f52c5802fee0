-- A socket server looks after one user's connections: is the log where it thinks, are its leases there?
-- REST: connection, device, session, ... A missing lease is claimed again, unless another connection of that device holds one
-- (it was displaced), the device is gone or its session has ended. A device that stays connected is seen once a day.
-- Result: {'done', epoch, seq, tag, {'kept' | 'claimed' | 'displaced' | 'no_device' | 'ended', ...}} | {'gone'} | {'unknown'}
--!use base sessions
--!keys meta gone devices presence
--!args shift_ms server generation lease_ms
local meta = read_meta()
if not meta then return absent() end
local holder = {}
local presence = redis.call('HGETALL', K.presence)
for i = 1, #presence, 2 do holder[string.match(presence[i + 1], '%S+$')] = presence[i] end
local states = {}
for i = REST, #ARGV, 3 do
  local connection, device, session = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state, raw = 'kept', redis.call('HGET', K.devices, device)
  local known = raw and cmsgpack.unpack(raw)
  if known and known.seen < now_ms() - 86400000 then
    known.seen = now_ms()
    redis.call('HSET', K.devices, device, cmsgpack.pack(known))
  end
  if not known then
    state = 'no_device'
  elseif not names(known, session) then
    state = 'ended'
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
