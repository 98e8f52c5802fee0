-- A socket server leaves: its row goes at once, unless a newer generation has taken it over.
--!keys seen rows generations wishes
--!args server generation
if redis.call('HGET', K.generations, A.server) == A.generation then
  redis.call('HDEL', K.seen, A.server)
  redis.call('HDEL', K.rows, A.server)
  redis.call('HDEL', K.wishes, A.server)
end
return 1
