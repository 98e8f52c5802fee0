-- Store one message (TTL > 0) for a push URL's user and append its event.
-- Result: {'stored', seq, now ms, expires ms, 1: nothing of the user's expires before it, epoch, previous seq, previous tag,
--          {leases}, site, {what it dropped, as entries}}       the entries and it follow each other (lib/log.lua)
--         {'again', ref, unread seq or '', change, lifetime ms, receipt}    this Idempotency-Key stored it before, so
--         {'mismatch'}                                                  ... with another body
--         {'limited', 'push_url' | 'user' | '', wait us}                over a rate: see lib/rates.lua; '': `only_again`
--         {'unsigned', key}                                             the push URL takes only what its key signed
--         {'plain'}                                                     it takes only encrypted and empty messages
--         {'gone'} {'unknown'}                                          proof that the push URL is gone; no proof of anything
-- Invariant: a message is in messages and in all that finds it, or in none of them; quotas hold afterwards; a topic names
-- at most one unread message of its push URL. O(log n) in the number of unread messages.
--!use base waiters messages log heal_messages push_urls rates room
--!keys meta gone push_urls log ghosts messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence waiters idem rates
--!args shift_ms tag keep_ms volatile_ms max_log max_stubs push_url number lifetime_ms urgency topic key_id body signed_by plain fingerprint idem_ms receipt max_unread max_unread_url max_bytes max_bytes_url only_again url_earns url_price url_full user_earns user_price user_full rates_ms
--!lane sure
--!rarely absent wait_us parse_message ref count_of free index_anew tell_waiters bury drop_expired unread_message begin_log break_log heal_messages trim_log write_refs over evict_oldest_of make_room change
local meta = read_meta()
if not meta then return absent() end
local push_url, refusal, site = named_push_url()
if not push_url then return refusal end
local moment = now_us()
local now = math.floor(moment / 1000)
local touched = false -- what was read so far is so no more
if check_messages(meta) ~= 'whole' then
  heal_messages(meta)
  touched = true
end
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

local soonest = redis.call('ZRANGEBYSCORE', K.expiry, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
if soonest and tonumber(soonest) <= now then
  drop_expired(now, 8)
  touched = true
end
local size, bytes = #A.body, tonumber(meta.bytes or '0')
local seq_of_topic = A.topic ~= '' and redis.call('HGET', K.topics, A.push_url .. ':' .. A.topic)
if seq_of_topic then
  local m = unread_message(seq_of_topic, nil, now)
  if m then
    free(seq_of_topic, m)
    bury(seq_of_topic, m, 'replaced', now)
    write_refs(meta, now, 'd', {ref(seq_of_topic, m)}, 'replaced')
    touched = true
  end
end
-- What a push URL may have is a part of what its user may have: with less than that unread, no quota is full.
if touched or meta.unread >= math.min(A.max_unread_url, A.max_unread)
  or bytes + size > math.min(A.max_bytes_url, A.max_bytes) then
  make_room(meta, size, now)
  bytes = tonumber(redis.call('HGET', K.meta, 'bytes'))
  soonest = redis.call('ZRANGEBYSCORE', K.expiry, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
end

local expires = now + tonumber(A.lifetime_ms)
local expires_text = int(expires)
local header = table.concat({A.tag, A.key_id, expires_text, A.urgency, A.push_url, int(now), size, '=' .. A.topic, site}, ' ') .. '\n'
local dropped = appended
appended = {}
local seq = write_log(meta, now, 'm', {}, {})
redis.call('HSET', K.messages, seq, header .. A.body)
index_message(seq, {push_url = A.push_url, size = size, expires = expires_text, topic = A.topic})
if A.topic ~= '' then redis.call('PEXPIRE', K.topics, A.volatile_ms) end -- it may be new where the others are not
if is_fading(K.messages) then
  for _, key in ipairs({K.messages, K.unread, K.unread_by_url, K.bytes_by_url, K.expiry, K.topics}) do
    redis.call('PEXPIRE', key, A.volatile_ms)
  end
end
close_log(meta, now, 'bytes', int(bytes + size))
if A.fingerprint ~= '' then
  local ref_text = table.concat({seq, A.tag, A.key_id, expires_text}, ':')
  local answer = table.concat({A.fingerprint, ref_text, A.lifetime_ms, A.receipt}, ' ')
  redis.call('SET', K.idem, answer, 'PX', A.idem_ms)
end
local first = not soonest or expires < tonumber(soonest)
return {'stored', meta.seq, now, expires, first and 1 or 0, meta.epoch, previous[1], previous[2],
        redis.call('HVALS', K.presence), site, dropped}
