-- An operator sets a broadcast's version, or removes it (version ''). The field '' counts the changes: servers see by it
-- that they have to look.
-- Result: {'done', changes} | {'same'} | {'limit'}
--!keys broadcasts
--!args id version most
local before = redis.call('HGET', K.broadcasts, A.id) or ''
if before == A.version then return {'same'} end
if before == '' and redis.call('HLEN', K.broadcasts) > tonumber(A.most) then return {'limit'} end
if A.version == '' then
  redis.call('HDEL', K.broadcasts, A.id)
else
  redis.call('HSET', K.broadcasts, A.id, A.version)
end
return {'done', redis.call('HINCRBY', K.broadcasts, '', 1)}
