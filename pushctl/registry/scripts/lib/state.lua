-- What became of a message (parsed record or nothing, tag, when it expires), as everybody is told who asks for it.
-- Delivered: some device acknowledged a position at or behind it, and its filter let it through.
local function state_of(meta, now, seq, tag, expires)
  if now >= tonumber(expires) then return 'expired', expires end
  local m = unread_message(seq, tag, now)
  if m then
    local first
    for _, raw in ipairs(redis.call('HVALS', K.devices)) do
      local device = cmsgpack.unpack(raw)
      local reached = device.epoch == meta.epoch and device.acked >= tonumber(seq) and m.urgency >= device.rank
      if reached and (not first or device.acked_at < first) then first = device.acked_at end
    end
    if first then return 'delivered', int(math.max(first, tonumber(m.sent))) end
    return 'stored', m.sent
  end
  local stub = redis.call('HGET', K.stubs, seq)
  if stub then
    local stub_tag, state, at = string.match(stub, '^(%d+) (%S+) (%d+)$')
    if stub_tag == tag then return state, at end
  end
  return 'none'
end
