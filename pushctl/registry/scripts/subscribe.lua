-- A browser registers a channel (A.site = 'channel:<id>'): it gets the push URL that the channel has, if that takes the
-- same key; else another one, and the old one is revoked. A channel that was unregistered gets a new one, too: what was
-- handed out before stays gone.
-- Result: {'done', id, record} | {'limit'} | {'gone'} | {'unknown'}
-- Invariant: one push URL per channel.
--!use base push_urls log heal_push_urls change_push_urls
--!keys meta gone push_urls push_url_order sites log ghosts rates
--!args shift_ms tag keep_ms volatile_ms max_log id site vapid icon key_id max_push_urls
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_push_urls(meta)
open_log(meta)
local id = redis.call('HGET', K.sites, A.site)
local record = id and redis.call('HGET', K.push_urls, id)
if record then
  local _, _, _, _, vapid = string.match(record, PUSH_URL)
  if vapid == A.vapid then return {'done', id, record} end
  revoke_push_url(meta, now, id, record)
elseif redis.call('HLEN', K.push_urls) >= tonumber(A.max_push_urls) then
  return {'limit'}
end
local made, fresh = make_push_url(meta, now)
close_log(meta, now)
return {'done', made, fresh}
