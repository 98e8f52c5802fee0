-- Mark messages read: those named (REST: <seq>:<tag> each), or all up to a cursor.
-- Result: {'done', how many, change} | {'gone'} | {'unknown'}
-- Invariant: only unread messages count and make an event; an id never hits another message (tag); `upto` never reaches
-- a message that came after the cursor, nor anything when the cursor is not provably of this log: a failover that took
-- it back may have used its number again.
--!use base waiters messages log heal_messages
--!keys meta gone log ghosts messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence waiters
--!args shift_ms tag keep_ms volatile_ms max_log max_stubs epoch upto_seq upto_tag
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_messages(meta)
open_log(meta)
drop_expired(now, 8)
local refs = {}
local function mark(seq, tag)
  local m = unread_message(seq, tag, now)
  if not m then return end
  free(seq, m)
  bury(seq, m, 'read', now)
  refs[#refs + 1] = ref(seq, m)
end

if A.upto_seq ~= '' then
  if is_ancestor(meta, A.epoch, A.upto_seq, A.upto_tag) then
    for _, seq in ipairs(redis.call('ZRANGEBYSCORE', K.unread, '-inf', A.upto_seq)) do mark(seq, nil) end
  end
else
  for i = REST, #ARGV do mark(string.match(ARGV[i], '^(%d+):(%d+)$')) end
end
if #refs > 0 then
  write_refs(meta, now, 'r', refs)
  close_log(meta, now)
end
return {'done', #refs, change(meta)}
