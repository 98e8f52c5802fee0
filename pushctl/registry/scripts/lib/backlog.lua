-- What stands in a stream and who reads it. All of it is empty for a stream or a group that is not there.
local function without_group(reply)
  return reply.err and (string.find(reply.err, 'NOGROUP') or string.find(reply.err, 'no such key'))
end

-- {name=, pending=, idle=} of each router. idle: ms since it was last seen at work.
local function consumers()
  local found, reply = {}, redis.pcall('XINFO', 'CONSUMERS', K.stream, A.group)
  if without_group(reply) then return found end
  if reply.err then error(reply.err) end
  for _, flat in ipairs(reply) do
    local consumer = {}
    for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
    found[#found + 1] = consumer
  end
  return found
end

-- jobs in the stream, their bytes, and the age of the oldest in ms
local function backlog()
  local oldest = redis.call('XRANGE', K.stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return 0, 0, 0 end
  local t = redis.call('TIME')
  local age = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) - tonumber(string.match(oldest[1], '^%d+'))
  -- A clock that stepped back leaves ids from the future.
  return redis.call('XLEN', K.stream), noted_bytes(), math.max(0, age)
end
