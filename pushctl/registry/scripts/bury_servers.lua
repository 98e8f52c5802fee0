-- gc: forget servers, and other processes, that have been silent for very long.   Result: how many servers went
--!use base
--!keys seen rows wishes processes
--!args shift_ms silent_ms forgotten_ms
local gone = 0
local now = now_ms()
local seen = redis.call('HGETALL', K.seen)
for i = 1, #seen, 2 do
  if now - tonumber(seen[i + 1]) > tonumber(A.silent_ms) then
    redis.call('HDEL', K.seen, seen[i])
    redis.call('HDEL', K.wishes, seen[i])
    gone = gone + redis.call('HDEL', K.rows, seen[i])
  end
end
local processes = redis.call('HGETALL', K.processes)
for i = 1, #processes, 2 do
  if now - tonumber(string.match(processes[i + 1], '^%d+') or 0) > tonumber(A.forgotten_ms) then
    redis.call('HDEL', K.processes, processes[i])
  end
end
return gone
