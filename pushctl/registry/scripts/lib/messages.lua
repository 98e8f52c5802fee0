-- Messages at rest: one record each, and what finds them.
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

-- A message is no longer unread: its body and all that finds it goes at once.
local function free(seq, m)
  redis.call('HDEL', K.messages, seq)
  redis.call('ZREM', K.unread, seq)
  redis.call('ZREM', K.unread_by_url, by_url(m.push_url, seq))
  redis.call('ZREM', K.expiry, seq)
  if tonumber(redis.call('ZINCRBY', K.bytes_by_url, -m.size, m.push_url)) <= 0 then
    redis.call('ZREM', K.bytes_by_url, m.push_url)
  end
  redis.call('HINCRBY', K.meta, 'bytes', -m.size)
  if m.topic ~= '' then
    local field = m.push_url .. ':' .. m.topic
    if redis.call('HGET', K.topics, field) == seq then redis.call('HDEL', K.topics, field) end
  end
end

-- A dead message's state is kept until it would have expired, for the sender; bounded, the soonest to expire goes.
local function bury(seq, m, state, now)
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
