-- gc: a daemon gives a lease back before its end. The fence rises, so that nothing it still has on the way may act.
-- Result: 1 | 0: it was another's already
--!keys lease
--!args fence
if redis.call('HGET', K.lease, 'fence') ~= A.fence then return 0 end
redis.call('HSET', K.lease, 'daemon', '', 'fence', string.format('%.0f', tonumber(A.fence) + 1), 'until', '0')
return 1
