-- Who lives: 7 s (quiet_ms) of silence is death, but only for a judge that was watching. If more than gap_ms or less
-- than 0 of Redis time passed since it last asked, Redis was away or its clock stepped, and everybody gets a fresh 7 s.
-- A judge '' (a screen) gets the plain truth and leaves no trace.
-- Result: {now ms, server, row, age ms, 1 if alive, ...}
--!use base
--!keys seen rows judges
--!args shift_ms judge quiet_ms gap_ms
local now = now_ms()
local grace = 0
if A.judge ~= '' then
  local before = redis.call('HGET', K.judges, A.judge)
  local last = before and tonumber(string.match(before, '^(%d+)'))
  grace = before and tonumber(string.match(before, '(%d+)$')) or now
  if not last or now - last > tonumber(A.gap_ms) or now < last then grace = now end
  redis.call('HSET', K.judges, A.judge, int(now) .. ' ' .. int(grace))
  if not before then
    local all = redis.call('HGETALL', K.judges)
    for i = 1, #all, 2 do
      if now - tonumber(string.match(all[i + 1], '^(%d+)')) > 3600000 then redis.call('HDEL', K.judges, all[i]) end
    end
  end
end
local result = {int(now)}
local seen = redis.call('HGETALL', K.seen)
for i = 1, #seen, 2 do
  local row = redis.call('HGET', K.rows, seen[i])
  if row then
    local last_seen = tonumber(seen[i + 1])
    if last_seen > now then
      -- From before the clock stepped back. It counts from now on: nobody is alive until the clock is where it was.
      last_seen = now
      if A.judge ~= '' then redis.call('HSET', K.seen, seen[i], int(now)) end
    end
    local age = now - last_seen
    local quiet = now - math.max(last_seen, grace)
    result[#result + 1] = seen[i]
    result[#result + 1] = row
    result[#result + 1] = int(age)
    result[#result + 1] = (quiet <= tonumber(A.quiet_ms)) and 1 or 0
  end
end
return result
