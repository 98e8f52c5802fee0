-- Delete an account: see lib/tombstone.lua.
-- Result: {'done', epoch, {identities}, {sessions}} | {'gone'} | {'unknown'}
--!use base sessions tombstone
--!keys meta gone devices identities push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry waiters rates
--!args shift_ms
--!lane sure
local meta = read_meta()
if not meta then return absent() end
return leave_tombstone(meta)
