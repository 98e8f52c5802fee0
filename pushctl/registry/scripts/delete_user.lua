-- Delete an account: see lib/tombstone.lua.
-- Result: {'done', epoch, {entries of the identity index}, {sessions}} | {'gone'} | {'unknown'}
--!use base sessions waiters tombstone
--!keys meta gone devices identities push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry waiters rates
--!args shift_ms
--!lane sure
if not read_meta() then return absent() end
return leave_tombstone()
