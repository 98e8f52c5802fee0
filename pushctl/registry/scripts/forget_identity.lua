-- Remove a principal's entry in the identity index, if it still leads to this user.   Result: how many went
--!keys identity
--!args user
if redis.call('GET', K.identity) ~= A.user then return 0 end
return redis.call('DEL', K.identity)
