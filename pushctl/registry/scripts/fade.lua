-- gc: keys of a user without meta and without an end of their own (after a loss of some keys, nothing else makes that)
-- get the end that everything else of the user has. Nobody can reach them: every script reads meta first, and a new log-in
-- deletes them. They are not deleted here, because for some days an operator may still want to look.
-- Result: how many were given an end
--!keys meta devices identities push_urls push_url_order sites
--!args volatile_ms
if redis.call('EXISTS', K.meta) == 1 then return 0 end
local faded = 0
for _, key in ipairs({K.devices, K.identities, K.push_urls, K.push_url_order, K.sites}) do
  if redis.call('PTTL', key) == -1 then faded = faded + redis.call('PEXPIRE', key, A.volatile_ms) end
end
return faded
