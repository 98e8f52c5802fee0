-- A key of the identity index is given up: an entry under it goes from a user's list, if the identity has another.
-- Result: how many went
--!keys identities
--!args entry
local raw = redis.call('HGET', K.identities, A.entry)
if not raw then return 0 end
local id, all = cmsgpack.unpack(raw).id, redis.call('HGETALL', K.identities)
for i = 1, #all, 2 do
  if all[i] ~= A.entry and cmsgpack.unpack(all[i + 1]).id == id then return redis.call('HDEL', K.identities, A.entry) end
end
return 0
