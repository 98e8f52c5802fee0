-- One push URL: live, revoked or not known, its unread messages without bodies (at most `limit`, the newest) and what
-- the newest `scan` entries of the log say of it; its rate and the user's (lib/rates.lua).
-- Result: {'done', now ms, epoch, push URLs ever made, 'live' | 'revoked' | '', record without icon or '', bytes of icon,
--          {{seq, header}, ...}, unread, {{seq, kind, at ms}, ...}, entries looked through, entries, devices flat,
--          rate of the push URL or '', of the user or ''}
--         {'gone', ...} {'unknown', ...}    see lib/look.lua
--!use base look
--!keys meta gone devices push_urls ghosts log messages unread_by_url rates
--!args shift_ms push_url limit scan
--!lane bulk
local now = now_ms()
local meta = read_meta()
if not meta then return nobody(now) end

local live = redis.call('HGET', K.push_urls, A.push_url)
local record = live or redis.call('HGET', K.ghosts, A.push_url)
local head = head_of(record)

local from, to = '[' .. A.push_url .. ':', '[' .. A.push_url .. ';'
local seqs = {}
for _, member in ipairs(redis.call('ZREVRANGEBYLEX', K.unread_by_url, to, from, 'LIMIT', 0, A.limit)) do
  seqs[#seqs + 1] = int(tonumber(string.match(member, ':(%d+)$')))
end

local events, looked = {}, 0
for _, entry in ipairs(redis.call('XREVRANGE', K.log, '+', '-', 'COUNT', A.scan)) do
  looked = looked + 1
  local fields = fields_of(entry)
  if fields.id == A.push_url then events[#events + 1] = {seq_of(entry), fields.k, fields.t} end
end

local rates = redis.call('HMGET', K.rates, A.push_url, 'user')
return {'done', int(now), meta.epoch, redis.call('HGET', K.meta, 'push_url_count'),
        live and 'live' or record and 'revoked' or '', head, record and #record - #head or 0, headers_of(seqs),
        redis.call('ZLEXCOUNT', K.unread_by_url, from, to), events, looked, redis.call('XLEN', K.log),
        redis.call('HGETALL', K.devices), rates[1] or '', rates[2] or ''}
