-- Something became of a message: whoever waits for it (await_receipt.lua) looks again. A hint, once for each script.
local told = false
local function tell_waiters(now)
  if told then return end
  told = true
  for _, channel in ipairs(redis.call('ZRANGEBYSCORE', K.waiters, int(now), '+inf')) do
    redis.call('PUBLISH', channel, K.waiters)
  end
end
