-- A router looks after a stream. Up to `count` jobs that some router took, and has been silent about for idle_ms, are
-- this one's to try; but what was tried max_tries times is given up. Routers that hold nothing and have not been seen for
-- gone_ms are forgotten: one that was only frozen joins again by reading.
-- Result: {given up, jobs, bytes, age of the oldest ms, id, payload, ...}: all that was done leaves this backlog
-- Invariant: two routers that look at once share it between them; no consumer goes while anything is pending under it.
--!use jobs backlog
--!keys stream bytes
--!args group consumer idle_ms max_tries gone_ms count
local taken, given_up, freed = {}, 0, 0
local pending = redis.pcall('XPENDING', K.stream, A.group, 'IDLE', A.idle_ms, '-', '+', A.count)
if without_group(pending) then pending = {} end
if pending.err then return pending end
for _, row in ipairs(pending) do
  local id, tries = row[1], row[4]
  local job = tries < tonumber(A.max_tries)
    and redis.call('XCLAIM', K.stream, A.group, A.consumer, 0, id)[1]
    or redis.call('XRANGE', K.stream, id, id)[1]
  if not job then
    redis.call('XACK', K.stream, A.group, id) -- somebody deleted it by hand
  elseif tries < tonumber(A.max_tries) then
    taken[#taken + 1] = id
    taken[#taken + 1] = job[2][2]
  else
    redis.call('XACK', K.stream, A.group, id)
    redis.call('XDEL', K.stream, id)
    given_up, freed = given_up + 1, freed + #job[2][2]
  end
end
if freed > 0 then forget_bytes(freed, redis.call('XLEN', K.stream)) end
redis.call('PEXPIRE', K.stream, DAY_MS)
redis.call('PEXPIRE', K.bytes, DAY_MS)
-- That this router lives: Redis 7.0 does not note a read that waits for jobs and finds none. Behind all that is pending
-- there is nothing to read, so nothing is taken here.
redis.pcall('XREADGROUP', 'GROUP', A.group, A.consumer, 'STREAMS', K.stream, '18446744073709551615-0')
for _, consumer in ipairs(consumers()) do
  if consumer.pending == 0 and consumer.idle > tonumber(A.gone_ms) and consumer.name ~= A.consumer then
    redis.call('XGROUP', 'DELCONSUMER', K.stream, A.group, consumer.name)
  end
end
local jobs, bytes, age = backlog()
return {given_up, jobs, bytes, age, unpack(taken)}
