-- What became of a message.
-- Result: {state, at ms} with state stored, delivered, read, replaced, cancelled, evicted, expired (by the clock, not by
-- gc); {'none'} | {'gone'} | {'unknown'}     see lib/state.lua
--!use base messages state
--!keys meta gone messages stubs devices
--!args shift_ms seq message_tag expires
local meta = read_meta()
if not meta then return absent() end
return {state_of(meta, now_ms(), A.seq, A.message_tag, A.expires)}
