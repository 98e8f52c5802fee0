-- A browser is done with messages (REST: <seq>:<tag> each): they go, and no event tells of it, for it is its user's only
-- device. May be repeated.
-- Result: {'done', how many were unread} | {'gone'} | {'unknown'}
-- Invariant: an id never hits another message (tag).
--!use base waiters messages
--!keys meta gone messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry waiters
--!args shift_ms volatile_ms max_stubs
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now, done = now_ms(), 0
mend_messages(meta)
drop_expired(now, 8)
for i = REST, #ARGV do
  local seq, tag = string.match(ARGV[i], '^(%d+):(%d+)$')
  local m = unread_message(seq, tag, now)
  if m then
    free(seq, m)
    bury(seq, m, 'delivered', now)
    done = done + 1
  end
end
return {'done', done}
