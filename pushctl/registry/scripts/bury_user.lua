-- A deletion is finished: nothing is left elsewhere. The tombstone forgets who it was and lasts a day from now, so that
-- a site or device that comes meanwhile is told 'gone'. `epoch` says which deletion: a later account has another.
-- Result: 1 | 0: there is no such tombstone (any more)
--!keys gone
--!args epoch tombstone_ms
if redis.call('HGET', K.gone, 'epoch') ~= A.epoch then return 0 end
redis.call('HDEL', K.gone, 'epoch', 'identities', 'sessions')
redis.call('PEXPIRE', K.gone, A.tombstone_ms)
return 1
