-- The unread messages after a sequence number, oldest first, at most `limit`.
-- Result: {'done', {seq, record}, ..., } | {'gone'} | {'unknown'}
--!use base messages
--!keys meta gone messages unread unread_by_url bytes_by_url expiry topics
--!args shift_ms after limit
--!lane bulk
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
mend_messages(meta)
local found, result = 0, {'done'}
local after = A.after
while found < tonumber(A.limit) do
  local page = redis.call('ZRANGEBYSCORE', K.unread, '(' .. after, '+inf', 'LIMIT', 0, A.limit)
  if #page == 0 then break end
  for _, seq in ipairs(page) do
    local m, record = unread_message(seq, nil, now)
    if m and found < tonumber(A.limit) then
      found = found + 1
      result[#result + 1] = {seq, record}
    end
    after = seq
  end
end
return result
