-- Store one message (TTL > 0) for a push URL's user and append its event.
-- Result: {'stored', ref seq, ref tag, key id, expires ms, change}     see lib/log.lua
--         {'again', ref, unread seq or '', change, lifetime ms, receipt}    this Idempotency-Key stored it before, so
--         {'mismatch'}                                                  ... with another body
--         {'limited', 'push_url' | 'user' | '', wait us}                over a rate: see lib/rates.lua; '': `only_again`
--         {'unsigned', key}                                             the push URL takes only what its key signed
--         {'plain'}                                                     it takes only encrypted and empty messages
--         {'gone'} {'unknown'}                                          proof that the push URL is gone; no proof of anything
-- Invariant: a message is in messages and in all that finds it, or in none of them; quotas hold afterwards; a topic names
-- at most one unread message of its push URL. O(log n) in the number of unread messages.
--!use base waiters messages log heal_messages push_urls rates
--!keys meta gone push_urls devices log ghosts messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence waiters idem rates
--!args shift_ms tag keep_ms volatile_ms max_log max_stubs push_url number lifetime_ms urgency topic key_id body signed_by plain fingerprint idem_ms receipt max_unread max_unread_url max_bytes max_bytes_url only_again url_earns url_price url_full user_earns user_price user_full rates_ms
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local push_url, refusal = named_push_url()
if not push_url then return refusal end
local moment = now_us()
local now = math.floor(moment / 1000)
heal_messages(meta)
open_log(meta)

if A.fingerprint ~= '' then
  local before = redis.call('GET', K.idem)
  if before then
    local fingerprint, old_ref, seq, tag, lifetime, receipt = string.match(before, '^(%S+) ((%d+):(%d+):%S+) (%d+) (%d)$')
    if fingerprint ~= A.fingerprint then return {'mismatch'} end
    local alive = unread_message(seq, tag, now)
    return {'again', old_ref, alive and seq or '', change(meta), lifetime, receipt}
  end
end
-- A repeat is neither counted nor refused.
local limited = A.only_again ~= '' and {'limited', '', '0'} or over_rate(moment)
if limited then return limited end

drop_expired(now, 8)
local site = string.match(push_url, '^%S+ %S+ %S+ (%S+)')
local size = #A.body
local seq_of_topic = A.topic ~= '' and redis.call('HGET', K.topics, A.push_url .. ':' .. A.topic)
if seq_of_topic then
  local m = unread_message(seq_of_topic, nil, now)
  if m then
    free(seq_of_topic, m)
    bury(seq_of_topic, m, 'replaced', now)
    write_refs(meta, now, 'd', {ref(seq_of_topic, m)}, 'replaced')
  end
end

local evicted = {}
local function evict_oldest_of(url)
  local member = redis.call('ZRANGEBYLEX', K.unread_by_url, '[' .. url .. ':', '[' .. url .. ';', 'LIMIT', 0, 1)[1]
  local seq = int(tonumber(string.match(member, ':(%d+)$')))
  local m = parse_message(redis.call('HGET', K.messages, seq))
  free(seq, m)
  bury(seq, m, 'evicted', now)
  evicted[#evicted + 1] = ref(seq, m)
end
local function over(count, max_count, bytes, max_bytes)
  return count > 0 and (count >= tonumber(max_count) or tonumber(bytes or '0') + size > tonumber(max_bytes))
end
-- Nothing unread goes while something expired takes its place.
while over(count_of(A.push_url), A.max_unread_url, redis.call('ZSCORE', K.bytes_by_url, A.push_url), A.max_bytes_url) do
  if drop_expired(now, 8) == 0 then evict_oldest_of(A.push_url) end
end
while over(redis.call('ZCARD', K.unread), A.max_unread, redis.call('HGET', K.meta, 'bytes'), A.max_bytes) do
  if drop_expired(now, 8) == 0 then evict_oldest_of(redis.call('ZREVRANGE', K.bytes_by_url, 0, 0)[1]) end
end
if #evicted > 0 then write_refs(meta, now, 'd', evicted, 'evicted') end

local expires = int(now + tonumber(A.lifetime_ms))
local header = table.concat({A.tag, A.key_id, expires, A.urgency, A.push_url, int(now), int(size), '=' .. A.topic, site}, ' ') .. '\n'
local seq = write_log(meta, now, 'm', {}, {header})
redis.call('HSET', K.messages, seq, header .. A.body)
index_message(seq, parse_message(header))
for _, key in ipairs({K.messages, K.unread, K.unread_by_url, K.bytes_by_url, K.expiry, K.topics}) do
  redis.call('PEXPIRE', key, A.volatile_ms)
end
close_log(meta, now)
local ref_text = table.concat({seq, A.tag, A.key_id, expires}, ':')
if A.fingerprint ~= '' then
  local answer = table.concat({A.fingerprint, ref_text, A.lifetime_ms, A.receipt}, ' ')
  redis.call('SET', K.idem, answer, 'PX', A.idem_ms)
end
return {'stored', seq, A.tag, A.key_id, expires, change(meta)}
