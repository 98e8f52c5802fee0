-- How many bytes of jobs a stream holds stands beside it and changes with it, in the same script: it cannot drift. An
-- empty stream has none, so whatever an operator did to it by hand is forgotten there.
-- Invariant: what is pending is in the stream. Whoever deletes a job acknowledges it, too: neither Redis 6.2 (which
-- would keep it pending for ever) nor 7 (which drops it when somebody claims it) ever sees the difference.
-- Both end a day after the stream was last empty, or a router last looked after it (take_over.lua).
local DAY_MS = 86400000

local function note_bytes(bytes, jobs)
  if jobs == 0 then
    redis.call('DEL', K.bytes)
  else
    redis.call('SET', K.bytes, string.format('%.0f', math.max(0, bytes)), 'PX', DAY_MS)
  end
end

local function noted_bytes() return tonumber(redis.call('GET', K.bytes) or '0') end

-- Jobs of so many bytes went out of a stream in which so many jobs are left.
local function forget_bytes(freed, jobs)
  note_bytes(jobs > 0 and noted_bytes() - freed or 0, jobs)
end
