-- What became of a message.
-- Result: {state, at ms} with state stored, delivered, read, replaced, cancelled, evicted, expired (by the clock, not by
-- gc); {'none'} | {'gone'} | {'unknown'}
-- Delivered: some device acknowledged a position at or behind it, and its filter let it through.
--!use base messages
--!keys meta gone messages stubs devices
--!args shift_ms seq message_tag expires
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
if now >= tonumber(A.expires) then return {'expired', A.expires} end
local m = unread_message(A.seq, A.message_tag, now)
if m then
  local first
  for _, raw in ipairs(redis.call('HVALS', K.devices)) do
    local device = cmsgpack.unpack(raw)
    local reached = device.epoch == meta.epoch and device.acked >= tonumber(A.seq) and m.urgency >= device.rank
    if reached and (not first or device.acked_at < first) then first = device.acked_at end
  end
  if first then return {'delivered', int(math.max(first, tonumber(m.sent)))} end
  return {'stored', m.sent}
end
local stub = redis.call('HGET', K.stubs, A.seq)
if stub then
  local tag, state, at = string.match(stub, '^(%d+) (%S+) (%d+)$')
  if tag == A.message_tag then return {state, at} end
end
return {'none'}
