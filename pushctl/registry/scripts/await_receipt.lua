-- What became of a message, for a process in which somebody waits for it: as long as nobody has it, the process is
-- told on its channel as soon as anything becomes of one of this user's messages (tell_waiters in lib/waiters.lua).
-- Result: {state, at ms, ms until it expires} | {'none'} | {'gone'} | {'unknown'}     states as message_state.lua
-- Invariant: `waiters` (channel -> until when) holds one entry for each such process, and ends with the last of them.
--!use base messages state
--!keys meta gone messages stubs devices waiters
--!args shift_ms seq message_tag expires channel lasts_ms
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
local state, at = state_of(meta, now, A.seq, A.message_tag, A.expires)
if state == 'stored' then
  redis.call('ZREMRANGEBYSCORE', K.waiters, '-inf', '(' .. int(now))
  redis.call('ZADD', K.waiters, int(now + tonumber(A.lasts_ms)), A.channel)
  redis.call('PEXPIRE', K.waiters, A.lasts_ms)
end
return {state, at, int(math.max(tonumber(A.expires) - now, 0))}
