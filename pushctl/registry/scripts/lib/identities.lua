-- A user's identities: entry in the index -> id, provider, when linked and last used, the provider's generation (-1: none
-- seen), pending (a link that is not finished: the index may lead elsewhere), made (it made the account: the user's id is
-- its). While the index moves to another key, an identity has an entry under each, with the same record.
-- REST: the entries of the identity at hand, the newest first.
local function identity_of()
  for i = REST, #ARGV do
    local raw = redis.call('HGET', K.identities, ARGV[i])
    if raw then return cmsgpack.unpack(raw) end
  end
end

local function new_identity(now)
  return {id = A.identity_id, provider = A.provider, linked = now, used = now, generation = -1, pending = false, made = false}
end

-- Also under entries that whoever asks does not know, as it has only another key of the index.
local function keep(identity)
  local raw, all = cmsgpack.pack(identity), redis.call('HGETALL', K.identities)
  for i = 1, #all, 2 do
    if cmsgpack.unpack(all[i + 1]).id == identity.id then redis.call('HSET', K.identities, all[i], raw) end
  end
  for i = REST, #ARGV do redis.call('HSET', K.identities, ARGV[i], raw) end
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

-- How many are linked, and the one that made the account: entry, record, ...
local function linked()
  local ids, count, made = {}, 0, nil
  local all = redis.call('HGETALL', K.identities)
  for i = 1, #all, 2 do
    local identity = cmsgpack.unpack(all[i + 1])
    if not identity.pending and not ids[identity.id] then
      ids[identity.id] = true
      count = count + 1
    end
    if identity.made then made = identity end
  end
  return count, made
end
