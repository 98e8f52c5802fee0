-- A router joins the consumer group of a job stream, which begins with the stream. Twice is no error.
--!keys stream
--!args group consumer
local made = redis.pcall('XGROUP', 'CREATE', K.stream, A.group, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
return redis.call('XGROUP', 'CREATECONSUMER', K.stream, A.group, A.consumer)
