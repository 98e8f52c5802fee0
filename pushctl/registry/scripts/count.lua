-- For the census: devices, push URLs, unread messages (not those past their moment), connections.
-- Result: {'done', devices, push URLs, unread, connections, next expiry ms or ''} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices push_urls unread expiry presence
--!args shift_ms
if not read_meta() then return absent() end
local past = redis.call('ZCOUNT', K.expiry, '-inf', int(now_ms()))
return {'done', redis.call('HLEN', K.devices), redis.call('HLEN', K.push_urls), redis.call('ZCARD', K.unread) - past,
        redis.call('HLEN', K.presence), redis.call('ZRANGE', K.expiry, 0, 0, 'WITHSCORES')[2] or ''}
