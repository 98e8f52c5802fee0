-- A browser unregisters a channel: its push URL is revoked. Its unread messages stay until the browser takes them, or
-- until they expire.
-- Result: {'done', 1 | 0: it has none} | {'gone'} | {'unknown'}
--!use base push_urls log heal_push_urls change_push_urls
--!keys meta gone push_urls push_url_order sites log ghosts rates
--!args shift_ms tag keep_ms volatile_ms max_log site
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_push_urls(meta)
open_log(meta)
local id = redis.call('HGET', K.sites, A.site)
local record = id and redis.call('HGET', K.push_urls, id)
if not record then return {'done', 0} end
revoke_push_url(meta, now, id, record)
close_log(meta, now)
return {'done', 1}
