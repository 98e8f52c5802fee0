-- The end of a link: the index leads to this user (ours = 1) or to another, who keeps it.
-- REST: see lib/identities.lua
-- Result: {'done', 1 if it is linked now} | {'gone'} | {'unknown'}
--!use base sessions identities
--!keys meta gone identities
--!args shift_ms identity ours
--!lane sure
if not read_meta() then return absent() end
local identity = identity_here()
if not identity then return {'done', 0} end
if A.ours == '1' then
  identity.pending = false
  keep(identity)
elseif identity.pending then
  drop(identity.id)
  return {'done', 0}
end
return {'done', 1}
