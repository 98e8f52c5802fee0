-- What wrk sends for accept.py, and what it tells it: prepared requests of a file, one after the other.
-- wrk -s wrk.lua ... -- FILE     in FILE stand a request's length and LF, then its bytes, again and again
local requests, turn = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], 'rb'))
  for length in file:lines() do requests[#requests + 1] = file:read(tonumber(length)) end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"answered": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
