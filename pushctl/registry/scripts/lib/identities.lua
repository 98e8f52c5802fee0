-- A user's identities: index entry -> id, provider, when linked and last used, the provider's generation (-1: none seen),
-- pending (a link that is not finished: the index may lead elsewhere). While the key of the index changes an identity has
-- an entry under each, and all say the same: A.identity under the newest key, REST: under older ones.
local function identity_here()
  local found = redis.call('HMGET', K.identities, A.identity, unpack(ARGV, REST))
  for i = 1, #ARGV - REST + 2 do
    if found[i] then return cmsgpack.unpack(found[i]) end
  end
end

local function each_entry(id, act)
  local all = redis.call('HGETALL', K.identities)
  for i = 1, #all, 2 do
    if cmsgpack.unpack(all[i + 1]).id == id then act(all[i]) end
  end
end

local function keep(identity)
  local raw = cmsgpack.pack(identity)
  local function write(entry) redis.call('HSET', K.identities, entry, raw) end
  each_entry(identity.id, write)
  write(A.identity)
  for i = REST, #ARGV do write(ARGV[i]) end
end

-- Result: its entries, which are gone
local function drop(id)
  local entries = {}
  each_entry(id, function(entry)
    redis.call('HDEL', K.identities, entry)
    entries[#entries + 1] = entry
  end)
  return entries
end

-- Result: how many there are; how many of them are linked
local function count_identities()
  local seen, count, linked = {}, 0, 0
  for _, raw in ipairs(redis.call('HVALS', K.identities)) do
    local identity = cmsgpack.unpack(raw)
    if not seen[identity.id] then
      seen[identity.id], count, linked = true, count + 1, linked + (identity.pending and 0 or 1)
    end
  end
  return count, linked
end

local function new_identity(now)
  return {id = A.identity_id, provider = A.provider, linked = now, used = now, generation = -1, pending = false}
end

-- A log-in at the provider, with its generation ('' = it keeps none). False: its account has a newer one. Otherwise
-- noted; what an older generation opened is struck into `ended`.
local function used(identity, now, ended)
  local generation = tonumber(A.generation) or identity.generation
  if generation < identity.generation then return false end
  if generation > identity.generation and identity.generation >= 0 then strike_all(identity.id, ended) end
  identity.generation, identity.provider, identity.used = generation, A.provider, now
  keep(identity)
  return true
end
