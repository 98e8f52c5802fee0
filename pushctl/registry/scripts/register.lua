-- A user logs in on a device. The only script that makes a user: a new meta is a new epoch and deletes whatever else is
-- there; a tombstone hands its push-URL count on, so that push URLs of before the deletion stay provably gone.
-- A deletion that was cut off is finished first: sessions it has not ended yet would open the new account.
-- Result: {'done', device, 1 if the user is new, {older sessions}} | {'no_device'} | {'limit'}
--         {'unfinished', identity, sessions}   what is left to do of the deletion
-- Sessions that a device had stay noted (the last 3) until they are known to have ended: a log-in may be cut off before
-- it ended them, and whoever removes the device must end them all.
--!use base
--!keys meta gone devices push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence rates
--!args shift_ms device new_device name session epoch identity max_devices
--!lane sure
local now = now_ms()
local known = redis.call('EXISTS', K.meta) == 1
if not known and A.device ~= '' then return {'no_device'} end
if not known then
  local left = redis.call('HMGET', K.gone, 'identity', 'sessions')
  if left[1] then return {'unfinished', left[1], left[2]} end
  local count = redis.call('HGET', K.gone, 'push_url_count') or '0'
  redis.call('DEL', unpack(KEYS))
  redis.call('HSET', K.meta, 'epoch', A.epoch, 'seq', '0', 'tag', '0', 'floor', '0', 'floor_tag', '0', 'bytes', '0', 'topics', '0',
             'push_url_count', count, 'created', int(now), 'identity', A.identity)
end
local id = A.device
local device
if id ~= '' then
  local raw = redis.call('HGET', K.devices, id)
  if not raw then return {'no_device'} end
  device = cmsgpack.unpack(raw)
  table.insert(device.older, 1, device.session)
  device.older[4] = nil
else
  if redis.call('HLEN', K.devices) >= tonumber(A.max_devices) then return {'limit'} end
  id = A.new_device
  device = {created = now, epoch = '', acked = 0, acked_at = 0, rank = 0, resync = false, older = {}}
end
device.name, device.session, device.seen = A.name, A.session, now
redis.call('HSET', K.devices, id, cmsgpack.pack(device))
return {'done', id, known and 0 or 1, device.older}
