-- Remove presence entries that still are what was seen (compare and delete).  REST: connection, value, ...
-- Result: how many went.
--!keys presence
local gone = 0
for i = REST, #ARGV, 2 do
  if redis.call('HGET', K.presence, ARGV[i]) == ARGV[i + 1] then gone = gone + redis.call('HDEL', K.presence, ARGV[i]) end
end
return gone
