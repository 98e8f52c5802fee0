-- Make a push URL for a site, or find the one there is; a different icon replaces the old one.
-- Result: {'new' | 'changed' | 'same', id, record, change} | {'limit'} | {'gone'} | {'unknown'}
-- Invariant: at most one push URL per (site, key); numbers only rise, so a number at or below push_url_count was given.
--!use base push_urls log heal_push_urls change_push_urls
--!keys meta gone push_urls push_url_order sites log ghosts presence
--!args shift_ms tag keep_ms volatile_ms max_log id site vapid icon key_id max_push_urls
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_push_urls(meta)
open_log(meta)
local id = redis.call('HGET', K.sites, site_field(A.site, A.vapid))
if id then
  local record = redis.call('HGET', K.push_urls, id)
  local number, created, key_id, site, vapid, icon = string.match(record, PUSH_URL)
  if A.icon == '' or A.icon == icon then return {'same', id, record, change(meta)} end
  record = table.concat({number, created, key_id, site, vapid}, ' ') .. '\n' .. A.icon
  redis.call('HSET', K.push_urls, id, record)
  write_log(meta, now, 'p', {'id', id}, {id, record})
  close_log(meta, now)
  return {'changed', id, record, change(meta)}
end
if redis.call('HLEN', K.push_urls) >= tonumber(A.max_push_urls) then return {'limit'} end
local made, record = make_push_url(meta, now)
close_log(meta, now)
return {'new', made, record, change(meta)}
