-- gc: a browser (a user whose devices never logged in) that was not seen for idle_ms goes, as if its account were deleted.
-- Never one that is connected, nor a user who logged in.
-- Result: {'done', epoch, {entries of the identity index}, {}} | {'kept'} | {'gone'} | {'unknown'}
--!use base sessions waiters tombstone
--!keys meta gone devices identities push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence waiters rates
--!args shift_ms idle_ms
--!lane sure
if not read_meta() then return absent() end
if redis.call('EXISTS', K.presence) == 1 then return {'kept'} end
local before, devices = now_ms() - tonumber(A.idle_ms), redis.call('HVALS', K.devices)
for _, raw in ipairs(devices) do
  local device = cmsgpack.unpack(raw)
  if device.session ~= '' or device.seen > before then return {'kept'} end
end
return #devices > 0 and leave_tombstone() or {'kept'}
