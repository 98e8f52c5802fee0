-- Revoke a push URL. Its unread messages stay until read or expired.
-- Result: {'done', change} | {'none'} | {'gone'} | {'unknown'}
--!use base push_urls log change_push_urls
--!keys meta gone push_urls push_url_order sites log ghosts presence rates
--!args shift_ms tag keep_ms volatile_ms max_log id
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local record = redis.call('HGET', K.push_urls, A.id)
if not record then return {'none'} end
local now = now_ms()
open_log(meta)
revoke_push_url(meta, now, A.id, record)
close_log(meta, now)
return {'done', change(meta)}
