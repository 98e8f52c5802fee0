-- The consumer group of a job stream, from the stream's beginning. Twice is no error.
--!keys stream
--!args group
local made = redis.pcall('XGROUP', 'CREATE', K.stream, A.group, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
return 1
