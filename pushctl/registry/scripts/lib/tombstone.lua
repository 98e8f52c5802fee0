-- In one step everything of a user goes but a tombstone, which says what is left to do elsewhere (sessions, the identity
-- index). It has no end until that is done: bury_user then leaves a bare one for a day. Presence stays until the socket
-- servers have closed the connections it leads to; it is a lease and goes by itself. Whoever waits for a receipt is told.
local LEFT = {'meta', 'devices', 'identities', 'push_urls', 'push_url_order', 'sites', 'ghosts', 'log', 'messages', 'unread',
              'unread_by_url', 'bytes_by_url', 'expiry', 'topics', 'stubs', 'stub_expiry', 'waiters', 'rates'}

-- Result: {'done', epoch, {entries of the identity index}, {sessions}}
local function leave_tombstone()
  local identities, sessions = redis.call('HKEYS', K.identities), {}
  for _, raw in ipairs(redis.call('HVALS', K.devices)) do strike(cmsgpack.unpack(raw), sessions) end
  local meta = redis.call('HMGET', K.meta, 'push_url_count', 'epoch')
  tell_waiters(now_ms())
  for _, noun in ipairs(LEFT) do redis.call('DEL', K[noun]) end
  redis.call('DEL', K.gone)
  redis.call('HSET', K.gone, 'push_url_count', meta[1], 'epoch', meta[2], 'identities', table.concat(identities, ' '),
             'sessions', table.concat(sessions, ' '))
  return {'done', meta[2], identities, sessions}
end
