-- `push_urls` is the truth of what a user allows; their order and the index of sites are made anew from it when they do
-- not agree (O(1) to see). When push URLs themselves were lost, nobody may stand at a place of the log of before.
local function heal_push_urls(meta)
  local n = redis.call('HLEN', K.push_urls)
  local order, sites = redis.call('ZCARD', K.push_url_order), redis.call('HLEN', K.sites)
  if order == n and sites == n then return end
  redis.call('DEL', K.push_url_order, K.sites)
  for _, id in ipairs(redis.call('HKEYS', K.push_urls)) do
    local number, _, _, site, vapid = string.match(redis.call('HGET', K.push_urls, id), PUSH_URL)
    redis.call('ZADD', K.push_url_order, number, id)
    redis.call('HSET', K.sites, site_field(site, vapid), id)
  end
  if n < math.max(order, sites) then break_log(meta) end
end
