-- A role says which keys it has, and learns with which it may seal: the one place that decides it. A key that seals
-- nothing yet begins to only when every role that reported within fresh_ms has it, and this role has watched for that
-- long without a gap: so nobody's silence that Redis or this role caused is taken for absence.
-- `known`: all its keys, with commas around each. `seals`, `opens`: sealing keys by state, as the file orders them.
-- `claims`: other keys that it uses. `starting`: it is refused, and not counted, if it lacks a key that is in use.
-- Result: {'done', key to seal with or '', key in use that it lacks, ...} | {'lacks', key, ...}
-- Invariant: a key that somebody may seal with stands in `key_uses`, from before the first time until it is retired.
--!use base
--!keys key_holders key_uses
--!args shift_ms holder known seals opens claims about starting fresh_ms gap_ms
local now = now_ms()
local function has(known, key) return string.find(known, ',' .. key .. ',', 1, true) ~= nil end

local uses, used, lacks = {}, false, {}
local all = redis.call('HGETALL', K.key_uses)
for i = 1, #all, 2 do
  local first, retired = string.match(all[i + 1], '^(%d+) %d+ (%d+)$')
  uses[all[i]] = {first = first, retired = retired ~= '0'}
  if retired == '0' then
    used = true
    if not has(A.known, all[i]) then lacks[#lacks + 1] = all[i] end
  end
end
table.sort(lacks)
if A.starting == '1' and #lacks > 0 then return {'lacks', unpack(lacks)} end

local others, since = {}, now
all = redis.call('HGETALL', K.key_holders)
for i = 1, #all, 2 do
  local seen, from, known = string.match(all[i + 1], '^(%d+) (%d+) %S+ (%S+) ')
  local age = now - tonumber(seen)
  if all[i] == A.holder then
    if age >= 0 and age <= tonumber(A.gap_ms) then since = tonumber(from) end
  elseif age > tonumber(A.fresh_ms) or age < -tonumber(A.fresh_ms) then
    redis.call('HDEL', K.key_holders, all[i])
  else
    others[#others + 1] = known
  end
end
local watched = now - since >= tonumber(A.fresh_ms)
local function with_all(key)
  for _, known in ipairs(others) do
    if not has(known, key) then return false end
  end
  return true
end

local function in_use(key) return uses[key] and not uses[key].retired end
local function may_begin(key) return not uses[key] and (watched or not used) and with_all(key) end
local function first_of(keys, good)
  for key in string.gmatch(keys, '[^,]+') do
    if good(key) then return key end
  end
end
local function goes_on(key) return in_use(key) and with_all(key) end
local chosen = first_of(A.seals, function(key) return goes_on(key) or may_begin(key) end)
  or first_of(A.opens, goes_on)
  -- Somebody lacks all that is in use: that one cannot be helped, and nobody else is to stand still for it.
  or first_of(A.seals .. ',' .. A.opens, in_use)
  or ''

local function note(key) redis.call('HSET', K.key_uses, key, (uses[key] and uses[key].first or int(now)) .. ' ' .. int(now) .. ' 0') end
if chosen ~= '' then note(chosen) end
for key in string.gmatch(A.claims, '[^,]+') do
  if in_use(key) or (not uses[key] and with_all(key)) then note(key) end
end
redis.call('HSET', K.key_holders, A.holder,
  table.concat({int(now), int(since), chosen ~= '' and chosen or '-', A.known, A.about}, ' '))
return {'done', chosen, unpack(lacks)}
