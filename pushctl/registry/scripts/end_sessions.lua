-- Sign out everywhere: no session of the user's stands from here on, but those of later log-ins.
-- Result: {'done', session, ...} | {'gone'} | {'unknown'}
--!use base sessions
--!keys meta gone devices
--!args shift_ms
--!lane sure
if not read_meta() then return absent() end
local result = {'done'}
strike_all(nil, result)
return result
