-- For those who only look (inspect_*.lua): nothing here writes.

-- A user that is not there: {'gone', now, ms the tombstone has left} | {'unknown', now, keys that are left without meta}
local function nobody(now)
  local left = redis.call('PTTL', K.gone)
  if left ~= -2 then return {'gone', int(now), left} end
  return {'unknown', int(now), redis.call('EXISTS', unpack(KEYS))}
end

-- A record without what follows its first line: the body of a message, the icon of a push URL.
local function head_of(record) return record and string.match(record, '^[^\n]*\n') or '' end

-- {{seq, header}, ...} of these messages; what is past its moment included, for gc may be late.
local function headers_of(seqs)
  local found = {}
  for _, seq in ipairs(seqs) do
    local record = redis.call('HGET', K.messages, seq)
    if record then found[#found + 1] = {seq, head_of(record)} end
  end
  return found
end

local function fields_of(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end

local function seq_of(entry) return string.match(entry[1], '^%d+') end
