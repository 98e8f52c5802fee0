-- Delete an account: see lib/tombstone.lua.
-- Result: {'done', identity, session, ...} | {'gone'} | {'unknown'}
--!use base tombstone
--!keys meta gone devices push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry waiters rates
--!args shift_ms
--!lane sure
if not read_meta() then return absent() end
return leave_tombstone()
