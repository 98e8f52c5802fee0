-- All push URLs of a user, oldest first.   Result: {'done', {id, record}, ...} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone push_urls push_url_order
--!args shift_ms
--!lane bulk
if not read_meta() then return absent() end
local result = {'done'}
for _, id in ipairs(redis.call('ZRANGE', K.push_url_order, 0, -1)) do
  result[#result + 1] = {id, redis.call('HGET', K.push_urls, id)}
end
return result
