-- Which sessions a device's record names: the one it has and those before it that may not have ended. Only these stand,
-- whatever rows there are: so one script in the user's slot ends any number of sessions, at one moment.
-- A browser, which never logs in, has '' for a session, and keeps it.
local SIGNED_OUT = '-'

local function has_session(device) return device.session ~= '' and device.session ~= SIGNED_OUT end

local function names(device, session)
  if device.session == session then return true end
  for _, older in ipairs(device.older) do
    if older == session then return true end
  end
  return false
end

-- Strike all of a device's sessions out of its record, into `ended`. True if there were any.
local function strike(device, ended)
  local before = #ended
  if has_session(device) then
    ended[before + 1] = device.session
    device.session = SIGNED_OUT
  end
  for _, older in ipairs(device.older) do ended[#ended + 1] = older end
  device.older = {}
  return #ended > before
end

-- Strike the sessions of every device, or of those that logged in with one identity.
local function strike_all(identity, ended)
  local devices = redis.call('HGETALL', K.devices)
  for i = 1, #devices, 2 do
    local device = cmsgpack.unpack(devices[i + 1])
    if (not identity or device.identity == identity) and strike(device, ended) then
      redis.call('HSET', K.devices, devices[i], cmsgpack.pack(device))
    end
  end
end
