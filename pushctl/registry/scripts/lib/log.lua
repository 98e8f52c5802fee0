-- The event log: a stream whose ids are <seq>-<tag>. Entries hold a kind and references, never bodies.
-- It begins right behind (meta.floor, meta.floor_tag) and ends at (meta.seq, meta.tag).
-- Appending goes through open_log, write_log and close_log, so that meta, log and floor change in one script.
-- What was appended comes back as {{seq, tag, kind, ...}}, in the shape sync reads it.
local appended = {}
local previous

local function newest_entry()
  local newest = redis.call('XREVRANGE', K.log, '+', '-', 'COUNT', 1)[1]
  return newest and newest[1]
end

-- Whether a place is provably of this log: what follows it in the log, without a hole, is all that has happened since.
local function is_ancestor(meta, epoch, seq, tag)
  if epoch ~= meta.epoch then return false end
  local place, last = seq .. '-' .. tag, int(meta.seq) .. '-' .. meta.tag
  if place == last then return true end
  if newest_entry() ~= last then return false end
  if place == int(meta.floor) .. '-' .. meta.floor_tag then return true end
  return #redis.call('XRANGE', K.log, place, place) == 1
end

-- `...`: another field and its value.
local function save_log(meta, ...)
  redis.call('HSET', K.meta, 'seq', int(meta.seq), 'tag', meta.tag, ...)
  if meta.moved then redis.call('HSET', K.meta, 'floor', int(meta.floor), 'floor_tag', meta.floor_tag) end
end

-- An empty log, which begins where meta says that it ended.
local function begin_log(meta)
  redis.call('DEL', K.log, K.ghosts)
  meta.floor, meta.floor_tag, meta.moved = meta.seq, meta.tag, true
end

-- What the log tells of is lost: whoever stands at any place handed out so far must get a snapshot.
local function break_log(meta)
  meta.seq, meta.tag = meta.seq + 1, A.tag
  begin_log(meta)
  save_log(meta)
end

local function open_log(meta) previous = {int(meta.seq), meta.tag} end

local function write_log(meta, now, kind, fields, shown)
  if #appended == 0 and newest_entry() ~= int(meta.seq) .. '-' .. meta.tag then begin_log(meta) end
  meta.seq = meta.seq + 1
  meta.tag = A.tag
  local seq = int(meta.seq)
  redis.call('XADD', K.log, seq .. '-' .. A.tag, 'k', kind, 't', int(now), unpack(fields))
  appended[#appended + 1] = {seq, A.tag, kind, unpack(shown or fields)}
  return seq
end

-- Entries leave only from the head: when older than keep_ms, or too many. A few each time keeps every script short.
local function trim_log(meta, now)
  for _ = 1, 16 do
    local head = redis.call('XRANGE', K.log, '-', '+', 'COUNT', 1)[1]
    if not head then break end
    local entry = {}
    for i = 1, #head[2], 2 do entry[head[2][i]] = head[2][i + 1] end
    local old = tonumber(entry.t) < now - tonumber(A.keep_ms)
    if not old and redis.call('XLEN', K.log) <= tonumber(A.max_log) then break end
    redis.call('XDEL', K.log, head[1])
    local seq
    seq, meta.floor_tag = string.match(head[1], '^(%d+)-(%d+)$')
    meta.floor, meta.moved = tonumber(seq), true
    if entry.k == 'x' then redis.call('HDEL', K.ghosts, entry.id) end
  end
end

-- Whether something is to be trimmed: too many there are at once known; for their age it is enough to look now and then.
local function is_long(meta)
  return meta.seq - meta.floor > tonumber(A.max_log) or math.floor(meta.seq / 8) > math.floor(previous[1] / 8)
end

-- The end of a volatile key is put off when an hour of it has passed: nothing needs the day that it has in hand.
local function is_fading(key) return redis.call('PTTL', key) < A.volatile_ms - 3600000 end

local function renew_log()
  if is_fading(K.log) then
    redis.call('PEXPIRE', K.log, A.volatile_ms)
    redis.call('PEXPIRE', K.ghosts, A.volatile_ms)
  end
end

local function close_log(meta, now, ...)
  if is_long(meta) then trim_log(meta, now) end
  save_log(meta, ...)
  renew_log()
end

-- References in entries of at most 100, so that no frame grows without bound. `kind` 'r' read, 'd' dropped.
local function write_refs(meta, now, kind, refs, reason)
  for first = 1, #refs, 100 do
    local part = table.concat(refs, ' ', first, math.min(first + 99, #refs))
    if kind == 'd' then
      write_log(meta, now, 'd', {'reason', reason, 'refs', part}, {reason, part})
    else
      write_log(meta, now, 'r', {'refs', part}, {part})
    end
  end
end

-- What the caller needs to tell the devices: {epoch, previous seq, previous tag, {leases at this moment}, {appended}}.
local function change(meta)
  return {meta.epoch, previous[1], previous[2], redis.call('HVALS', K.presence), appended}
end
