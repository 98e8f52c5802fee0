-- Everything an operator may want to know of one user, but bodies. At most `limit` unread messages, the newest.
-- Result: {'done', now ms, meta flat, devices flat, presence flat, presence ms left, {{id, push URL record without icon}},
--          {{seq, header}, ...}, unread, {entries, first id, first at, last id, last at} of the log,
--          stubs, ghosts, bytes of the log in Redis, bytes of all keys ('' where Redis does not say)}
--         {'gone', ...} {'unknown', ...}    see lib/look.lua
--!use base look
--!keys meta gone devices identities push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence rates
--!args shift_ms limit
--!lane bulk
local now = now_ms()
if not read_meta() then return nobody(now) end

local push_urls = {}
for _, id in ipairs(redis.call('ZRANGE', K.push_url_order, 0, -1)) do
  push_urls[#push_urls + 1] = {id, head_of(redis.call('HGET', K.push_urls, id))}
end

local log = {redis.call('XLEN', K.log), '', '', '', ''}
local first = redis.call('XRANGE', K.log, '-', '+', 'COUNT', 1)[1]
if first then
  local last = redis.call('XREVRANGE', K.log, '+', '-', 'COUNT', 1)[1]
  log = {log[1], first[1], fields_of(first).t, last[1], fields_of(last).t}
end

local function bytes_of(key)
  local bytes = redis.pcall('MEMORY', 'USAGE', key)
  if type(bytes) == 'table' then return nil end
  return bytes or 0
end
local all = 0
for _, key in ipairs(KEYS) do
  local bytes = bytes_of(key)
  all = all and bytes and all + bytes
end

return {'done', int(now), redis.call('HGETALL', K.meta), redis.call('HGETALL', K.devices),
        redis.call('HGETALL', K.presence), redis.call('PTTL', K.presence), push_urls,
        headers_of(redis.call('ZREVRANGE', K.unread, 0, tonumber(A.limit) - 1)), redis.call('ZCARD', K.unread), log,
        redis.call('HLEN', K.stubs), redis.call('HLEN', K.ghosts), bytes_of(K.log) or '', all or ''}
