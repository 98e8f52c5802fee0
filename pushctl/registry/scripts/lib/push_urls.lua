-- Push URLs at rest.  record = '<number> <created ms> <key id> <site> <vapid key or ->\n<icon>'
local PUSH_URL = '^(%d+) (%d+) (%S+) (%S+) (%S+)\n(.*)$'

-- A browser's push URL belongs to no site that we know, but to a channel, whose id the browser chose: 'channel:<id>'
-- stands in the site's place.
local function is_channel(site) return string.sub(site, 1, 8) == 'channel:' end

-- Where the index of sites keeps a push URL: one for each site and key; a channel has one, whatever its key.
local function site_field(site, vapid) return is_channel(site) and site or site .. ' ' .. vapid end

-- The push URL that a sender names (A.push_url, A.number): its record, nil, its site; or nil and why it takes nothing. It is gone for certain only
-- if its number was given out before; else its creation may have been lost. A.signed_by: '' = not signed at all.
-- A browser reads nothing but encrypted messages (and empty ones): A.plain = '1' is neither.
local function named_push_url()
  local record = redis.call('HGET', K.push_urls, A.push_url)
  if not record then
    local given = tonumber(redis.call('HGET', K.meta, 'push_url_count')) >= tonumber(A.number)
    return nil, {given and 'gone' or 'unknown'}
  end
  local site, vapid = string.match(record, '^%S+ %S+ %S+ (%S+) (%S+)')
  if vapid ~= '-' and vapid ~= A.signed_by then return nil, {'unsigned', vapid} end
  if A.plain == '1' and is_channel(site) then return nil, {'plain'} end
  return record, nil, site
end

-- What a revoked push URL leaves behind while the log names it: all but a picture.
local function ghost(record)
  local head, icon = string.match(record, '^([^\n]*\n)(.*)$')
  if string.sub(icon, 1, 5) == 'data:' then icon = '' end
  return head .. icon
end
