-- One message: what became of it, what is left of it, and everything its devices say. Never its body.
-- With message_tag '' whichever message has this number; with expires '' as its record or its stub says.
-- Result: {'done', now ms, epoch, seq, floor, state, at ms or '', tag, expires ms or '', header or '',
--          kind of the log's entry or '', its at ms or '', push URL record or '', 'live' | 'revoked' | '',
--          devices flat, presence flat}
--   state as message_state.lua, or 'none': nothing is known of it any more
--         {'gone', ...} {'unknown', ...}    see lib/look.lua
--!use base messages state look
--!keys meta gone devices push_urls ghosts log messages stubs stub_expiry presence
--!args shift_ms seq message_tag expires
--!lane bulk
local now = now_ms()
local meta = read_meta()
if not meta then return nobody(now) end

local header = head_of(redis.call('HGET', K.messages, A.seq))
local stub = redis.call('HGET', K.stubs, A.seq)
local entry = redis.call('XRANGE', K.log, A.seq .. '-0', A.seq, 'COUNT', 1)[1]
local entry_tag = entry and string.match(entry[1], '%d+$')
local tag, expires = A.message_tag, A.expires
if tag == '' then tag = string.match(header, '^%d+') or stub and string.match(stub, '^%d+') or entry_tag or '' end
if string.match(header, '^%d+') ~= tag then header = '' end
if stub and string.match(stub, '^%d+') ~= tag then stub = nil end
if entry_tag ~= tag then entry = nil end
local m = header ~= '' and parse_message(header)
if expires == '' then
  expires = m and m.expires or stub and redis.call('ZSCORE', K.stub_expiry, A.seq) or ''
end

local state, at = 'none', ''
if expires ~= '' then state, at = state_of(meta, now, A.seq, tag, expires) end

local push_url, life = '', ''
if m then
  local live = redis.call('HGET', K.push_urls, m.push_url)
  local ghost = redis.call('HGET', K.ghosts, m.push_url)
  push_url, life = head_of(live or ghost), live and 'live' or 'revoked'
end
local fields = entry and fields_of(entry) or {}
return {'done', int(now), meta.epoch, int(meta.seq), int(meta.floor), state, at or '', tag, expires, header,
        fields.k or '', fields.t or '', push_url, life, redis.call('HGETALL', K.devices),
        redis.call('HGETALL', K.presence)}
