-- A user's identities: index entry -> id, provider, when linked and last used, the provider's generation (-1: none seen),
-- pending (a link that is not finished: the index may lead elsewhere).
local function identity_of(entry)
  local raw = redis.call('HGET', K.identities, entry)
  return raw and cmsgpack.unpack(raw)
end

local function new_identity(now)
  return {id = A.identity_id, provider = A.provider, linked = now, used = now, generation = -1, pending = false}
end

-- A log-in at the provider, with its generation ('' = it keeps none). False: its account has a newer one. Otherwise
-- noted; what an older generation opened is struck into `ended`.
local function used(entry, identity, now, ended)
  local generation = tonumber(A.generation) or identity.generation
  if generation < identity.generation then return false end
  if generation > identity.generation and identity.generation >= 0 then strike_all(identity.id, ended) end
  identity.generation, identity.provider, identity.used = generation, A.provider, now
  redis.call('HSET', K.identities, entry, cmsgpack.pack(identity))
  return true
end
