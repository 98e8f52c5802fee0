-- Jobs are done: acknowledged and deleted together, so that a stream holds only what is still to do.
-- REST: entry ids.   Result: how many were this consumer's
--!keys stream
--!args group
local ids = {}
for i = REST, #ARGV do ids[#ids + 1] = ARGV[i] end
local n = redis.call('XACK', K.stream, A.group, unpack(ids))
redis.call('XDEL', K.stream, unpack(ids))
return n
