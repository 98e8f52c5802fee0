-- The sender takes back an unread message.
-- Result: {'done', change} | {'dead'}: already read, dropped or expired | {'gone'} | {'unknown'}
--!use base waiters messages log heal_messages
--!keys meta gone log ghosts messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence waiters
--!args shift_ms tag keep_ms volatile_ms max_log max_stubs seq message_tag
--!lane sure
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_messages(meta)
local m = unread_message(A.seq, A.message_tag, now)
if not m then return {'dead'} end
open_log(meta)
free(A.seq, m)
bury(A.seq, m, 'cancelled', now)
write_refs(meta, now, 'd', {ref(A.seq, m)}, 'cancelled')
close_log(meta, now)
return {'done', change(meta)}
