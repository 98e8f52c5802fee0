-- Accept one message with TTL 0: nothing is stored, but a stored unread message of its topic is replaced.
-- Result: {'announced', site, now ms, connections, change}    change: what the replacing appended (perhaps nothing)
--         {'again'} {'mismatch'} {'unsigned', key} {'plain'} {'limited'} {'gone'} {'unknown'}    as append.lua; 'again' is never announced twice
-- Invariant: leaves no key of its own but the idempotency mark and the rates.
--!use base waiters messages log heal_messages push_urls rates
--!keys meta gone push_urls log ghosts messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence waiters idem rates
--!args shift_ms tag keep_ms volatile_ms max_log max_stubs push_url number topic signed_by plain fingerprint idem_ms mark only_again url_earns url_price url_full user_earns user_price user_full rates_ms
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
    local fingerprint, old = string.match(before, '^(%S+) (%S+)$')
    if fingerprint ~= A.fingerprint then return {'mismatch'} end
    return {'again', old}
  end
end
local limited = A.only_again ~= '' and {'limited', '', '0'} or over_rate(moment)
if limited then return limited end
if A.fingerprint ~= '' then
  redis.call('SET', K.idem, A.fingerprint .. ' ' .. A.mark .. ':' .. int(now), 'PX', A.idem_ms)
end
local seq = A.topic ~= '' and redis.call('HGET', K.topics, A.push_url .. ':' .. A.topic)
if seq then
  local m = unread_message(seq, nil, now)
  if m then
    free(seq, m)
    bury(seq, m, 'replaced', now)
    write_refs(meta, now, 'd', {ref(seq, m)}, 'replaced')
    close_log(meta, now)
  end
end
return {'announced', string.match(push_url, '^%S+ %S+ %S+ (%S+)'), int(now), change(meta)}
