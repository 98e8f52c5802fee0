-- For the census: devices, push URLs, unread messages (not those past their moment), connections; and for how long a
-- browser (the one device of its user, which never logged in) was not seen.
-- Result: {'done', devices, push URLs, unread, connections, next expiry ms or '', ms or ''} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices push_urls unread expiry presence
--!args shift_ms
if not read_meta() then return absent() end
local now = now_ms()
local past = redis.call('ZCOUNT', K.expiry, '-inf', int(now))
local devices, unseen = redis.call('HLEN', K.devices), ''
if devices == 1 then
  local device = cmsgpack.unpack(redis.call('HVALS', K.devices)[1])
  if device.session == '' then unseen = int(now - device.seen) end
end
return {'done', devices, redis.call('HLEN', K.push_urls), redis.call('ZCARD', K.unread) - past,
        redis.call('HLEN', K.presence), redis.call('ZRANGE', K.expiry, 0, 0, 'WITHSCORES')[2] or '', unseen}
