-- What a browser has not taken yet, oldest first: unread messages after a sequence number, at most `limit` and about
-- page_bytes. It stood at (at_epoch, at_seq, at_tag) when it asked last ('' = never): if that is not provably a place of
-- this log (a failover took it back, numbers come again), all unread messages are new to it.
-- Result: {'done', epoch, seq, tag, after, more, {seq, record}, ...}   the log's end; where to go on; 1: there is more
--         {'gone'} | {'unknown'}
--!use base messages log heal_messages
--!keys meta gone log ghosts messages unread unread_by_url bytes_by_url expiry topics
--!args shift_ms tag at_epoch at_seq at_tag after limit page_bytes
--!lane bulk
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_messages(meta)
local after = is_ancestor(meta, A.at_epoch, A.at_seq, A.at_tag) and A.after or '0'
local limit, room = tonumber(A.limit), tonumber(A.page_bytes)
local result = {'done', meta.epoch, int(meta.seq), meta.tag, after, 0}
-- Past their moment they cost a look each, and gc has not been here for long if there are so many.
local page = redis.call('ZRANGEBYSCORE', K.unread, '(' .. after, '+inf', 'LIMIT', 0, 4 * limit)
for _, seq in ipairs(page) do
  if #result - 6 >= limit or room <= 0 then
    result[6] = 1
    return result
  end
  local m, record = unread_message(seq, nil, now)
  if m then
    result[#result + 1] = {seq, record}
    room = room - #record
  end
  result[5] = seq
end
if #page == 4 * limit then result[6] = 1 else result[5] = int(meta.seq) end
return result
