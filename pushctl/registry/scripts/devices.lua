-- A user's devices and who is connected.
-- Result: {'done', {id, msgpack} ..., presence values flattened {...}} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices presence
--!args shift_ms
--!lane bulk
if not read_meta() then return absent() end
return {'done', redis.call('HGETALL', K.devices), redis.call('HVALS', K.presence)}
