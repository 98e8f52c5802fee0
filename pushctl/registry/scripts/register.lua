-- A user logs in on a device. The only script that makes a user: a new meta is a new epoch and deletes whatever else is
-- there; a tombstone hands its push-URL count on, so that push URLs of before the deletion stay provably gone.
-- A deletion that was cut off is finished first: sessions it has not ended yet would open the new account.
-- Result: {'done', device, 1 if the user is new, {older sessions}, {sessions that end at once}}
--         {'no_device'} | {'limit'} | {'not_linked'} | {'superseded'}
--         {'unfinished', epoch, identities, sessions}   what is left to do of the deletion
-- Sessions that a device had stay noted (the last 3): those that are not noted any more have ended, whatever rows there
-- are. A provider's newer generation ends what the identity's older ones opened.
-- The identity must be one of the account's: the index may be behind an unlinking, and the id that an identity makes
-- may be an account that it was taken from. One that made the account (maker = 1) and is still in its list is that one,
-- whatever became of the key that its entry was under.
--!use base sessions identities
--!keys meta gone devices identities push_urls push_url_order sites ghosts log messages unread unread_by_url bytes_by_url expiry topics stubs stub_expiry presence rates
--!args shift_ms device new_device name session epoch maker identity_id provider generation max_devices
--!lane sure
local now = now_ms()
local known = redis.call('EXISTS', K.meta) == 1
if not known and A.device ~= '' then return {'no_device'} end
if not known then
  local left = redis.call('HMGET', K.gone, 'epoch', 'identities', 'sessions')
  if left[1] then return {'unfinished', unpack(left)} end
  local count = redis.call('HGET', K.gone, 'push_url_count') or '0'
  redis.call('DEL', unpack(KEYS))
  redis.call('HSET', K.meta, 'epoch', A.epoch, 'seq', '0', 'tag', '0', 'floor', '0', 'floor_tag', '0', 'bytes', '0', 'topics', '0',
             'push_url_count', count, 'created', int(now))
end
local identity = identity_of()
if not identity then
  local count, made = linked()
  if count > 0 and not (made and A.maker == '1') then return {'not_linked'} end
  identity = made or new_identity(now)
  identity.made = A.maker == '1'
end
local id = A.device
local raw = id ~= '' and redis.call('HGET', K.devices, id)
if id ~= '' and not raw then return {'no_device'} end
if id == '' and redis.call('HLEN', K.devices) >= tonumber(A.max_devices) then return {'limit'} end
identity.pending = false
local ended = {}
if not used(identity, now, ended) then return {'superseded'} end
local device
if id ~= '' then
  device = cmsgpack.unpack(redis.call('HGET', K.devices, id))
  if has_session(device) then table.insert(device.older, 1, device.session) end
  device.older[4] = nil
else
  id = A.new_device
  device = {created = now, epoch = '', acked = 0, acked_at = 0, rank = 0, resync = false, older = {}}
end
device.name, device.session, device.seen, device.identity = A.name, A.session, now, identity.id
redis.call('HSET', K.devices, id, cmsgpack.pack(device))
return {'done', id, known and 0 or 1, device.older, ended}
