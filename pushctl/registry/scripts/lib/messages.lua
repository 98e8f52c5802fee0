-- Messages at rest: one record each in `messages`, the truth of what is unread, and what finds them: unread,
-- unread_by_url, bytes_by_url, expiry, topics, and in meta the sum of bytes and the number of topics. A script that finds
-- by them or changes them looks first whether they agree (heal_messages, or mend_messages if it does not write the log).
--   record = '<tag> <key id> <expires ms> <urgency 0-3> <push URL> <sent ms> <bytes> =<topic> <site>\n<body>'
local HEADER = '^(%d+) (%S+) (%d+) (%d) (%S+) (%d+) (%d+) =(%S*) (%S+)\n'

local function parse_message(record)
  local tag, key_id, expires, urgency, push_url, sent, size, topic, site = string.match(record, HEADER)
  return {tag = tag, key_id = key_id, expires = expires, urgency = tonumber(urgency), push_url = push_url,
          sent = sent, size = tonumber(size), topic = topic, site = site}
end

-- What stands for the message id (ids.MessageRef).
local function ref(seq, m) return seq .. ':' .. m.tag .. ':' .. m.key_id .. ':' .. m.expires end

-- Members of unread_by_url sort by push URL, then by sequence number.
local function by_url(push_url, seq) return string.format('%s:%016.0f', push_url, tonumber(seq)) end

local function count_of(push_url)
  return redis.call('ZLEXCOUNT', K.unread_by_url, '[' .. push_url .. ':', '[' .. push_url .. ';')
end

-- All that finds a message whose record is in `messages`. The sum of bytes is the caller's to write.
local function index_message(seq, m)
  redis.call('ZADD', K.unread, seq, seq)
  redis.call('ZADD', K.unread_by_url, 0, by_url(m.push_url, seq))
  redis.call('ZINCRBY', K.bytes_by_url, m.size, m.push_url)
  redis.call('ZADD', K.expiry, m.expires, seq)
  if m.topic ~= '' then
    redis.call('HINCRBY', K.meta, 'topics', redis.call('HSET', K.topics, m.push_url .. ':' .. m.topic, seq))
  end
end

-- A message is no longer unread: its body and all that finds it goes at once.
local function free(seq, m)
  redis.call('HDEL', K.messages, seq)
  redis.call('ZREM', K.unread, seq)
  redis.call('ZREM', K.unread_by_url, by_url(m.push_url, seq))
  redis.call('ZREM', K.expiry, seq)
  redis.call('ZINCRBY', K.bytes_by_url, 0 - m.size, m.push_url)
  if count_of(m.push_url) == 0 then redis.call('ZREM', K.bytes_by_url, m.push_url) end
  redis.call('HINCRBY', K.meta, 'bytes', 0 - m.size)
  local field = m.push_url .. ':' .. m.topic
  if m.topic ~= '' and redis.call('HGET', K.topics, field) == seq then
    redis.call('HINCRBY', K.meta, 'topics', 0 - redis.call('HDEL', K.topics, field))
  end
end

-- 'whole'; 'stale': an index was lost; 'lost': messages were lost that an index still names. O(1). Notes in meta how many
-- are unread.
local function check_messages(meta)
  local n = redis.call('HLEN', K.messages)
  meta.unread = n
  local unread, expiry = redis.call('ZCARD', K.unread), redis.call('ZCARD', K.expiry)
  local urls = redis.call('ZCARD', K.unread_by_url)
  if n < math.max(unread, urls, expiry) then return 'lost' end
  local whole = unread == n and urls == n and expiry == n and redis.call('HLEN', K.topics) == meta.topics
    and redis.call('EXISTS', K.bytes_by_url) == (n > 0 and 1 or 0) and (n > 0 or meta.bytes == '0')
  return whole and 'whole' or 'stale'
end

local function index_anew()
  redis.call('DEL', K.unread, K.unread_by_url, K.bytes_by_url, K.expiry, K.topics)
  redis.call('HSET', K.meta, 'topics', '0')
  local seqs, bytes = redis.call('HKEYS', K.messages), 0
  table.sort(seqs, function(a, b) return tonumber(a) < tonumber(b) end) -- a topic names its newest
  for _, seq in ipairs(seqs) do
    local m = parse_message(redis.call('HGET', K.messages, seq))
    index_message(seq, m)
    bytes = bytes + m.size
  end
  redis.call('HSET', K.meta, 'bytes', int(bytes))
  local left = redis.call('PTTL', K.messages)
  for _, key in ipairs({K.unread, K.unread_by_url, K.bytes_by_url, K.expiry, K.topics}) do
    if left > 0 then redis.call('PEXPIRE', key, left) end
  end
end

-- For scripts that do not write the log: a loss of messages stays to be seen by one that does.
local function mend_messages(meta)
  if check_messages(meta) == 'stale' then index_anew() end
end

-- A dead message's state is kept until it would have expired, for the sender; bounded, the soonest to expire goes. What
-- nothing bounds any more (one of the two keys was lost) goes at once.
local function bury(seq, m, state, now)
  tell_waiters(now)
  if redis.call('HLEN', K.stubs) ~= redis.call('ZCARD', K.stub_expiry) then redis.call('DEL', K.stubs, K.stub_expiry) end
  redis.call('HSET', K.stubs, seq, m.tag .. ' ' .. state .. ' ' .. int(now))
  redis.call('ZADD', K.stub_expiry, m.expires, seq)
  redis.call('PEXPIRE', K.stubs, A.volatile_ms)
  redis.call('PEXPIRE', K.stub_expiry, A.volatile_ms)
  while redis.call('ZCARD', K.stub_expiry) > tonumber(A.max_stubs) do
    redis.call('HDEL', K.stubs, redis.call('ZPOPMIN', K.stub_expiry)[1])
  end
end

-- Throw away at most `limit` messages and stubs whose moment has passed. Returns how many messages went.
local function drop_expired(now, limit)
  local dead = redis.call('ZRANGEBYSCORE', K.expiry, '-inf', int(now), 'LIMIT', 0, limit)
  for _, seq in ipairs(dead) do
    local record = redis.call('HGET', K.messages, seq)
    if record then free(seq, parse_message(record)) else redis.call('ZREM', K.expiry, seq) end
  end
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', K.stub_expiry, '-inf', int(now), 'LIMIT', 0, limit)) do
    redis.call('HDEL', K.stubs, seq)
    redis.call('ZREM', K.stub_expiry, seq)
  end
  return #dead
end

-- The unread message of a sequence number, if it is that very message (tag) and its moment has not passed.
local function unread_message(seq, tag, now)
  local record = redis.call('HGET', K.messages, seq)
  if not record then return nil end
  local m = parse_message(record)
  if tag and m.tag ~= tag then return nil end
  if tonumber(m.expires) <= now then return nil end
  return m, record
end
