-- Revoke a push URL. Its unread messages stay until read or expired.
-- Result: {'done', change} | {'none'} | {'gone'} | {'unknown'}
--!use base push_urls log
--!keys meta gone push_urls push_url_order sites log ghosts presence rates
--!args shift_ms tag keep_ms volatile_ms max_log id
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local record = redis.call('HGET', K.push_urls, A.id)
if not record then return {'none'} end
local now = now_ms()
open_log(meta)
local _, _, _, site, vapid = string.match(record, PUSH_URL)
redis.call('HDEL', K.push_urls, A.id)
redis.call('ZREM', K.push_url_order, A.id)
redis.call('HDEL', K.sites, site .. ' ' .. vapid)
redis.call('HDEL', K.rates, A.id)
write_log(meta, now, 'x', {'id', A.id}, {A.id})
redis.call('HSET', K.ghosts, A.id, ghost(record)) -- after it: a log that begins anew forgets its ghosts
close_log(meta, now)
return {'done', change(meta)}
