-- Mark messages read: those named (REST: <seq>:<tag> each), or all up to a cursor.
-- Result: {'done', how many, change} | {'gone'} | {'unknown'}
-- Invariant: only unread messages count and make an event; an id never hits another message (tag); `upto` never reaches
-- a message that came after the cursor, nor anything when the cursor is not of this log.
--!use base messages log
--!keys meta gone log ghosts messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence
--!args shift_ms tag keep_ms volatile_ms max_log max_stubs epoch upto_seq upto_tag
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
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
  local upto = tonumber(A.upto_seq)
  local known = A.epoch == meta.epoch and upto <= meta.seq
  if known and upto == meta.seq then known = A.upto_tag == meta.tag end
  if known then
    -- An entry with this number but another tag: the cursor is of a log that a failover took back.
    local entry = redis.call('XRANGE', K.log, A.upto_seq .. '-0', A.upto_seq, 'COUNT', 1)[1]
    if entry and entry[1] ~= A.upto_seq .. '-' .. A.upto_tag then known = false end
  end
  if known then
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
