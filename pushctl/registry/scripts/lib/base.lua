-- What every user script begins with. Time is Redis TIME plus shift_ms (0 outside tests), never a host's clock.
local function int(n) return string.format('%.0f', n) end

local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2] + A.shift_ms * 1000
end

local function now_ms() return math.floor(now_us() / 1000) end

-- The user's meta, or nil: then nothing of the user may be touched. bytes and topics are as they were at this moment.
local function read_meta()
  local m = redis.call('HMGET', K.meta, 'epoch', 'seq', 'tag', 'floor', 'floor_tag', 'bytes', 'topics')
  if not m[1] then return nil end
  return {epoch = m[1], seq = tonumber(m[2]), tag = m[3], floor = tonumber(m[4]), floor_tag = m[5] or '0',
          bytes = m[6], topics = tonumber(m[7] or '0')}
end

-- Why there is no meta: the account was deleted (certain), or nobody knows (lost, never there).
local function absent()
  if redis.call('EXISTS', K.gone) == 1 then return {'gone'} end
  return {'unknown'}
end
