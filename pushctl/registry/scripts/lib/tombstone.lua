-- In one step everything of a user goes but a tombstone, which says what is left to do elsewhere (sessions, the identity
-- index). It has no end until that is done: bury_user then leaves a bare one for a day. Presence stays until the socket
-- servers have closed the connections it leads to; it is a lease and goes by itself.
local LEFT = {'meta', 'devices', 'push_urls', 'push_url_order', 'sites', 'ghosts', 'log', 'messages', 'unread',
              'unread_by_url', 'bytes_by_url', 'expiry', 'topics', 'stubs', 'stub_expiry', 'waiters', 'rates'}

-- Result: {'done', identity, session, ...}
local function leave_tombstone()
  local result = {'done', redis.call('HGET', K.meta, 'identity')}
  for _, raw in ipairs(redis.call('HVALS', K.devices)) do
    local device = cmsgpack.unpack(raw)
    result[#result + 1] = device.session
    for _, session in ipairs(device.older) do result[#result + 1] = session end
  end
  local count = redis.call('HGET', K.meta, 'push_url_count')
  for _, noun in ipairs(LEFT) do redis.call('DEL', K[noun]) end
  redis.call('DEL', K.gone)
  redis.call('HSET', K.gone, 'push_url_count', count, 'identity', result[2], 'sessions', table.concat(result, ' ', 3))
  return result
end
