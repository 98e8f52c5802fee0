-- Jobs are done: acknowledged and deleted together, so that a stream holds only what is still to do.
-- REST: `count` entry ids, then as many sizes.
-- Result: which of them (1, 2, ...) were not there any more: they had been trimmed, or another router has handed them over
--!use jobs
--!keys stream bytes
--!args group count
local count = tonumber(A.count)
local freed, gone = 0, {}
redis.call('XACK', K.stream, A.group, unpack(ARGV, REST, REST + count - 1))
for i = 1, count do
  if redis.call('XDEL', K.stream, ARGV[REST + i - 1]) == 1 then
    freed = freed + tonumber(ARGV[REST + count + i - 1])
  else
    gone[#gone + 1] = i
  end
end
if freed > 0 then note_bytes(noted_bytes() - freed, redis.call('XLEN', K.stream)) end
return gone
