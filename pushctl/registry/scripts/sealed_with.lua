-- How many of a user's push URLs each key sealed.   Result: {key id, how many, ...}
--!use push_urls
--!keys push_urls
local counts, result = {}, {}
for _, id in ipairs(redis.call('HKEYS', K.push_urls)) do
  local _, _, key_id = string.match(redis.call('HGET', K.push_urls, id), PUSH_URL)
  counts[key_id] = (counts[key_id] or 0) + 1
end
for key_id, count in pairs(counts) do
  result[#result + 1] = key_id
  result[#result + 1] = count
end
return result
