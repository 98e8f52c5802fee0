-- Charge token buckets that several processes share.  REST: bucket, cost in µs (negative: given back), ...
-- A bucket is the moment at which it is full again, its score; one that is full is not there.
-- Result: microseconds until each is full again, in order
-- Invariant: at most max_buckets; of more the fullest go, which forgets least. No bucket is further from full than
-- most_us, though the clock stepped back. O(log n) for each.
--!use base
--!keys buckets
--!args shift_ms most_us max_buckets
local now = now_us()
local behind = {}
redis.call('ZREMRANGEBYSCORE', K.buckets, '-inf', int(now))
for i = REST, #ARGV, 2 do
  local full_at = tonumber(redis.call('ZSCORE', K.buckets, ARGV[i]) or now)
  full_at = math.min(full_at, now + A.most_us) + ARGV[i + 1]
  if full_at > now then
    redis.call('ZADD', K.buckets, int(full_at), ARGV[i])
  else
    redis.call('ZREM', K.buckets, ARGV[i])
  end
  behind[#behind + 1] = int(math.max(0, full_at - now))
end
local surplus = redis.call('ZCARD', K.buckets) - A.max_buckets
if surplus > 0 then redis.call('ZPOPMIN', K.buckets, int(surplus)) end
redis.call('PEXPIRE', K.buckets, int(math.ceil(A.most_us / 1000)))
return behind
