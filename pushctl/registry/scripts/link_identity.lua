-- Begin to link another identity to the account that a session is of. It is pending until the index leads here
-- (settle_identity): then nobody can have logged in with it elsewhere.   REST: its entries in the index
-- Result: {'done', identity msgpack, 1 if it was linked before, {sessions that end at once}}
--         {'ended'}: the session | {'limit'} | {'superseded'} | {'gone'} | {'unknown'}
--!use base sessions identities
--!keys meta gone devices identities
--!args shift_ms device session identity_id provider generation max_identities
--!lane sure
if not read_meta() then return absent() end
local raw = redis.call('HGET', K.devices, A.device)
if not raw or not names(cmsgpack.unpack(raw), A.session) then return {'ended'} end
local now, ended = now_ms(), {}
local identity = identity_of()
if not identity then
  -- Those that are pending count, too: under at most two keys of the index.
  if redis.call('HLEN', K.identities) >= 2 * tonumber(A.max_identities) or linked() >= tonumber(A.max_identities) then
    return {'limit'}
  end
  identity = new_identity(now)
  identity.pending = true
end
if not used(identity, now, ended) then return {'superseded'} end
return {'done', cmsgpack.pack(identity), identity.pending and 0 or 1, ended}
