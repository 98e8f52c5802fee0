-- Making room for a new message; behind lib/messages.lua and lib/log.lua. Nothing unread goes while something expired
-- takes its place.
local function over(count, max_count, bytes, max_bytes, size)
  return count > 0 and (count >= tonumber(max_count) or tonumber(bytes or '0') + size > tonumber(max_bytes))
end

local function evict_oldest_of(url, now)
  local member = redis.call('ZRANGEBYLEX', K.unread_by_url, '[' .. url .. ':', '[' .. url .. ';', 'LIMIT', 0, 1)[1]
  local seq = int(tonumber(string.match(member, ':(%d+)$')))
  local m = parse_message(redis.call('HGET', K.messages, seq))
  free(seq, m)
  bury(seq, m, 'evicted', now)
  return ref(seq, m)
end

local function make_room(meta, size, now)
  local evicted = {}
  while over(count_of(A.push_url), A.max_unread_url, redis.call('ZSCORE', K.bytes_by_url, A.push_url), A.max_bytes_url, size) do
    if drop_expired(now, 8) == 0 then evicted[#evicted + 1] = evict_oldest_of(A.push_url, now) end
  end
  while over(redis.call('ZCARD', K.unread), A.max_unread, redis.call('HGET', K.meta, 'bytes'), A.max_bytes, size) do
    if drop_expired(now, 8) == 0 then
      evicted[#evicted + 1] = evict_oldest_of(redis.call('ZREVRANGE', K.bytes_by_url, 0, 0)[1], now)
    end
  end
  if #evicted > 0 then write_refs(meta, now, 'd', evicted, 'evicted') end
end
