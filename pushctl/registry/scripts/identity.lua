-- The user of a principal: the one the index has, else the one offered, from now on.   Result: user id
--!keys identity
--!args user
--!lane sure
redis.call('SETNX', K.identity, A.user)
return redis.call('GET', K.identity)
