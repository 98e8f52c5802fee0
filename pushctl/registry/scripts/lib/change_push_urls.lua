-- Making and revoking push URLs, each with its event; behind lib/log.lua and lib/push_urls.lua.

-- Result: id, record
local function make_push_url(meta, now)
  local number = redis.call('HINCRBY', K.meta, 'push_url_count', 1)
  local record = table.concat({int(number), int(now), A.key_id, A.site, A.vapid}, ' ') .. '\n' .. A.icon
  redis.call('HSET', K.push_urls, A.id, record)
  redis.call('ZADD', K.push_url_order, number, A.id)
  redis.call('HSET', K.sites, site_field(A.site, A.vapid), A.id)
  write_log(meta, now, 'p', {'id', A.id}, {A.id, record})
  return A.id, record
end

local function revoke_push_url(meta, now, id, record)
  local _, _, _, site, vapid = string.match(record, PUSH_URL)
  redis.call('HDEL', K.push_urls, id)
  redis.call('ZREM', K.push_url_order, id)
  redis.call('HDEL', K.sites, site_field(site, vapid))
  redis.call('HDEL', K.rates, id)
  write_log(meta, now, 'x', {'id', id}, {id})
  redis.call('HSET', K.ghosts, id, ghost(record)) -- after it: a log that begins anew forgets its ghosts
  redis.call('PEXPIRE', K.ghosts, A.volatile_ms)
end
