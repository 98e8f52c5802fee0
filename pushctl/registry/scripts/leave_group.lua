-- A router takes no more: its name goes, unless jobs are pending under it (they are taken over first).
-- Result: 1 when it is gone
--!use jobs backlog
--!keys stream bytes
--!args group consumer
for _, consumer in ipairs(consumers()) do
  if consumer.name == A.consumer and consumer.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', K.stream, A.group, A.consumer)
    return 1
  end
end
return 0
