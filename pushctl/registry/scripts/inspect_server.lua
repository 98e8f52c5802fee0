-- One socket server as the registry has it, and who judges it. Leaves no trace, as a screen must not.
-- Result: {now ms, seen ms or '', row or '', newest generation that started or '', {judge, asked ms, grace ms, ...}}
--!use base
--!keys seen rows generations judges
--!args shift_ms server
local judges = {}
local all = redis.call('HGETALL', K.judges)
for i = 1, #all, 2 do
  local asked, grace = string.match(all[i + 1], '^(%d+) (%d+)$')
  judges[#judges + 1] = all[i]
  judges[#judges + 1] = asked
  judges[#judges + 1] = grace
end
return {int(now_ms()), redis.call('HGET', K.seen, A.server) or '', redis.call('HGET', K.rows, A.server) or '',
        redis.call('HGET', K.generations, A.server) or '', judges}
