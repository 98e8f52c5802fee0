-- gc: remove devices that were not seen for idle_ms. Never one that is connected, and never the last: of idle ones alone
-- the one seen last stays.   Result: {'done', {device, session it has or had, ...}, ...} | {'gone'} | {'unknown'}
--!use base sessions
--!keys meta gone devices presence
--!args shift_ms idle_ms
--!lane sure
if not read_meta() then return absent() end
local connected = {}
for _, value in ipairs(redis.call('HVALS', K.presence)) do connected[string.match(value, '%S+$')] = true end
local devices = redis.call('HGETALL', K.devices)
local idle, kept, newest = {}, 0, nil
local before = now_ms() - tonumber(A.idle_ms)
for i = 1, #devices, 2 do
  local id, device = devices[i], cmsgpack.unpack(devices[i + 1])
  if connected[id] or device.seen > before then
    kept = kept + 1
  else
    idle[id] = device
    if not newest or device.seen > idle[newest].seen then newest = id end
  end
end
if kept == 0 and newest then idle[newest] = nil end
local result = {'done'}
for id, device in pairs(idle) do
  redis.call('HDEL', K.devices, id)
  local ended = {}
  strike(device, ended)
  result[#result + 1] = {id, unpack(ended)}
end
return result
