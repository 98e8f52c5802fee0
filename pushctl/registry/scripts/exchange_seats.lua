-- Box Offices tell each other what they handed out: each has one field, which it renews about every second.
-- `seats`: this office's. What nobody renewed for fresh_ms is of an office that is gone, and goes.
-- Result: {office, ms since it said so, its seats, ...} of all others, by name
--!use base
--!keys seats
--!args shift_ms office seats fresh_ms
local now = now_ms()
local names, found = {}, {}
local all = redis.call('HGETALL', K.seats)
for i = 1, #all, 2 do
  local said, seats = string.match(all[i + 1], '^(%d+) (.*)$')
  -- From the future is from before the clock stepped back: nobody can say how old.
  local age = now - tonumber(said)
  if age < 0 or age > tonumber(A.fresh_ms) then
    redis.call('HDEL', K.seats, all[i])
  elseif all[i] ~= A.office then
    names[#names + 1] = all[i]
    found[all[i]] = {int(age), seats}
  end
end
redis.call('HSET', K.seats, A.office, int(now) .. ' ' .. A.seats)
redis.call('PEXPIRE', K.seats, 60000)
table.sort(names)
local result = {}
for _, name in ipairs(names) do
  result[#result + 1] = name
  result[#result + 1] = found[name][1]
  result[#result + 1] = found[name][2]
end
return result
