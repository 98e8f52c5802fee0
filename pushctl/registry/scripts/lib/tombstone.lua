-- In one step everything of a user goes but a tombstone, which says what is left to do elsewhere (sessions, the identity
-- index). It has no end until that is done: bury_user then leaves a bare one for a day. Presence stays until the socket
-- servers have closed the connections it leads to; it is a lease and goes by itself. Behind lib/sessions.lua.
local LEFT = {'meta', 'devices', 'identities', 'push_urls', 'push_url_order', 'sites', 'ghosts', 'log', 'messages',
              'unread', 'unread_by_url', 'bytes_by_url', 'expiry', 'topics', 'stubs', 'stub_expiry', 'waiters', 'rates'}

-- Result: {'done', epoch, {identities}, {sessions}}
local function leave_tombstone(meta)
  local identities = redis.call('HKEYS', K.identities)
  identities[#identities + 1] = redis.call('HGET', K.meta, 'identity') or nil
  local sessions = {}
  for _, raw in ipairs(redis.call('HVALS', K.devices)) do strike(cmsgpack.unpack(raw), sessions) end
  local count = redis.call('HGET', K.meta, 'push_url_count')
  for _, noun in ipairs(LEFT) do redis.call('DEL', K[noun]) end
  redis.call('DEL', K.gone)
  redis.call('HSET', K.gone, 'push_url_count', count, 'epoch', meta.epoch, 'identities', table.concat(identities, ' '),
             'sessions', table.concat(sessions, ' '))
  return {'done', meta.epoch, identities, sessions}
end
