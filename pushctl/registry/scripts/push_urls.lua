-- All push URLs of a user, oldest first.   Result: {'done', {id, record}, ...} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone push_urls
--!args shift_ms
--!lane bulk
if not read_meta() then return absent() end
local flat, found = redis.call('HGETALL', K.push_urls), {}
for i = 1, #flat, 2 do
  found[#found + 1] = {flat[i], flat[i + 1], number = tonumber(string.match(flat[i + 1], '^%d+'))}
end
table.sort(found, function(a, b) return a.number < b.number end)
return {'done', unpack(found)}
