-- Write a job. The stream is bounded in number and in bytes: the oldest go, pending or not; reconcile covers them. (Their
-- age is looked at by the router that takes them.)   Result: the entry's id
-- At most max_gone go at once, which is more than one job brings; only after the limits were lowered it takes several.
--!use jobs
--!keys stream bytes
--!args group max_jobs max_bytes max_gone payload
local id = redis.call('XADD', K.stream, '*', 'j', A.payload)
local jobs, bytes = redis.call('XLEN', K.stream), #A.payload
if jobs > 1 then bytes = bytes + noted_bytes() else redis.call('PEXPIRE', K.stream, DAY_MS) end
for _ = 1, tonumber(A.max_gone) do
  if jobs == 1 or (jobs <= tonumber(A.max_jobs) and bytes <= tonumber(A.max_bytes)) then break end
  local oldest = redis.call('XRANGE', K.stream, '-', '+', 'COUNT', 1)[1]
  redis.call('XACK', K.stream, A.group, oldest[1])
  redis.call('XDEL', K.stream, oldest[1])
  jobs, bytes = jobs - 1, bytes - #oldest[2][2]
end
note_bytes(bytes, jobs)
return id
