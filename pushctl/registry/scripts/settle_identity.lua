-- The end of a link: the index leads to this user (ours = 1) or to another, who keeps it.   REST: the identity's entries
-- Result: {'done', 1 if it is linked now} | {'gone'} | {'unknown'}
--!use base sessions identities
--!keys meta gone devices identities
--!args shift_ms ours
--!lane sure
if not read_meta() then return absent() end
local identity = identity_of()
if not identity then return {'done', 0} end
if A.ours == '1' then
  identity.pending = false
  keep(identity)
elseif identity.pending then
  redis.call('HDEL', K.identities, unpack(ARGV, REST))
  return {'done', 0}
end
return {'done', 1}
