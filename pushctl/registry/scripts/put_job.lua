-- Write a job. The stream is bounded in number and in age: what is older than one reconcile has been covered by it.
-- Result: the entry's id
--!keys stream
--!args max_jobs keep_ms payload
local id = redis.call('XADD', K.stream, 'MAXLEN', '=', A.max_jobs, '*', 'j', A.payload)
local now = tonumber(string.match(id, '^(%d+)'))
redis.call('XTRIM', K.stream, 'MINID', '~', string.format('%.0f', now - tonumber(A.keep_ms)))
redis.call('PEXPIRE', K.stream, 86400000)
return id
