-- Jobs are done: acknowledged and deleted together, so that a stream holds only what is still to do. What tells of them is
-- published first, in the same step; `verb`: PUBLISH or SPUBLISH.
-- REST: `count` entry ids, then as many sizes, then channels and payloads by turns.
-- Result: {now ms, how many payloads nobody heard, {which jobs (1, 2, ...) were not there any more: they had been trimmed,
--          or another router has handed them over}}
--!use jobs
--!keys stream bytes
--!args group verb count
local count = tonumber(A.count)
local unheard, freed, gone = 0, 0, {}
for i = REST + 2 * count, #ARGV, 2 do
  if redis.call(A.verb, ARGV[i], ARGV[i + 1]) == 0 then unheard = unheard + 1 end
end
redis.call('XACK', K.stream, A.group, unpack(ARGV, REST, REST + count - 1))
for i = 1, count do
  if redis.call('XDEL', K.stream, ARGV[REST + i - 1]) == 1 then
    freed = freed + tonumber(ARGV[REST + count + i - 1])
  else
    gone[#gone + 1] = i
  end
end
if freed > 0 then forget_bytes(freed, redis.call('XLEN', K.stream)) end
local t = redis.call('TIME')
return {t[1] * 1000 + math.floor(t[2] / 1000), unheard, gone}
