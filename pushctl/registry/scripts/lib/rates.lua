-- Token buckets of a push URL and of its user: fields of `rates`, '<credit> <at µs>'. A microsecond earns `earns`, a
-- message costs `price`, a full bucket holds `full`: whole numbers below 2^53, so nothing is lost to rounding. The key
-- ends at least rates_ms after the last message: by then every bucket in it is full again, and a full one knows nothing.
local function credit_in(whose, state, now, earns, full)
  local credit, at = string.match(state or '', '^(%d+) (%d+)$')
  if not credit then return tonumber(full) end
  local passed = now - at
  if passed < 0 then -- The clock stepped back: that earns nothing, and from now on it earns again.
    redis.call('HSET', K.rates, whose, credit .. ' ' .. int(now))
    passed = 0
  end
  return math.min(full, credit + passed * earns)
end

local function wait_us(credit, earns) return credit < 0 and math.ceil(-credit / earns) or 0 end

-- Take one of each bucket; or of none, and {'limited', whose, microseconds until there is one}. O(1).
local function over_rate(now)
  if A.rates_ms == '0' then return nil end
  local states = redis.call('HMGET', K.rates, A.push_url, 'user')
  local url = credit_in(A.push_url, states[1], now, A.url_earns, A.url_full) - A.url_price
  local user = credit_in('user', states[2], now, A.user_earns, A.user_full) - A.user_price
  if url < 0 or user < 0 then
    local of_url, of_user = wait_us(url, A.url_earns), wait_us(user, A.user_earns)
    return {'limited', of_url >= of_user and 'push_url' or 'user', int(math.max(of_url, of_user))}
  end
  local at = ' ' .. int(now)
  redis.call('HSET', K.rates, A.push_url, int(url) .. at, 'user', int(user) .. at)
  if redis.call('PTTL', K.rates) < tonumber(A.rates_ms) then redis.call('PEXPIRE', K.rates, 2 * A.rates_ms) end
end
