-- A role other than a socket server says that it lives.   Result: nothing
--!use base
--!keys processes
--!args shift_ms process row
redis.call('HSET', K.processes, A.process, int(now_ms()) .. ' ' .. A.row)
return false
