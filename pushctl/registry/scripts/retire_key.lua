-- Take a key out of use, so that no role seals with it any more, unless it is too early.
-- `force`: 1 = whatever the roles say. `quiet_ms`: how long it must not have been used.
-- Result: {'done', the entry that takes it back into use or ''} | {'used', role, ...}: they use it now | {'early', ms to wait}
--!use base
--!keys key_holders key_uses
--!args shift_ms key fresh_ms quiet_ms force
local now = now_ms()
local before = redis.call('HGET', K.key_uses, A.key) or ''
local first, last = string.match(before, '^(%d+) (%d+) ')
if A.force ~= '1' then
  local result = {'used'}
  local all = redis.call('HGETALL', K.key_holders)
  for i = 1, #all, 2 do
    local seen, chosen = string.match(all[i + 1], '^(%d+) %d+ (%S+) ')
    if chosen == A.key and now - tonumber(seen) <= tonumber(A.fresh_ms) then result[#result + 1] = all[i] end
  end
  if #result > 1 then return result end
  local quiet = last and now - tonumber(last)
  if quiet and quiet < tonumber(A.quiet_ms) then return {'early', int(tonumber(A.quiet_ms) - quiet)} end
end
redis.call('HSET', K.key_uses, A.key, (first or int(now)) .. ' ' .. (last or int(now)) .. ' ' .. int(now))
return {'done', first and first .. ' ' .. last .. ' 0' or ''}
