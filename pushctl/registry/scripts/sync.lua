-- One page of what a device has to learn.
-- mode 'tail': it stands at (at_epoch, at_seq, at_tag). A delta, if that place is provably an ancestor of the log as it
-- stands; else the first page of a snapshot, pinned at the log's end as it is now. mode 'snapshot': a further page of one.
-- On the way indexes that were lost are made anew; after a loss of messages or push URLs themselves no place of before is
-- an ancestor any more.
-- Result: {'delta', epoch, seq, tag, done, {entry, ...}}         the place after this page; entries as lib/log.lua
--         {'snapshot', epoch, seq, tag, done, {{id, record}, ...}, {{seq, record}, ...}, next phase, next after}
--         {'lost'}                                               the pin is not provably of this log: start over
--         {'gone'} {'unknown'}
-- Invariant: a delta leaves out nothing but message events whose message is no longer unread or below min_rank; entries
-- follow each other without a hole (checked here, whatever happened to the stream).
--!use base messages log heal_messages push_urls heal_push_urls
--!keys meta gone log ghosts messages unread unread_by_url bytes_by_url expiry topics push_urls push_url_order sites
--!args shift_ms tag mode at_epoch at_seq at_tag phase after min_rank page_bytes page_count
--!lane bulk
local meta = read_meta()
if not meta then return absent() end
local now = now_ms()
heal_messages(meta)
heal_push_urls(meta)
local min_rank = tonumber(A.min_rank)
local room, places = tonumber(A.page_bytes), tonumber(A.page_count)

local function snapshot(pin_seq, pin_tag, phase, after)
  local urls, messages = {}, {}
  if phase == 'urls' then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.push_url_order, '(' .. after, '+inf', 'LIMIT', 0, places)) do
      local record = redis.call('HGET', K.push_urls, id)
      if record then
        urls[#urls + 1] = {id, record}
        after = string.match(record, '^(%d+)')
        room = room - #record
        if room <= 0 then return {'snapshot', meta.epoch, pin_seq, pin_tag, 0, urls, messages, 'urls', after} end
      end
    end
    if #urls == places then return {'snapshot', meta.epoch, pin_seq, pin_tag, 0, urls, messages, 'urls', after} end
    phase, after = 'messages', '0'
  end
  -- A page that a filter leaves empty ends, too: no script looks at a whole inbox.
  local more, looks = false, 4 * places
  while not more do
    local page = redis.call('ZRANGEBYSCORE', K.unread, '(' .. after, pin_seq, 'LIMIT', 0, places)
    if #page == 0 then break end
    for _, seq in ipairs(page) do
      if room <= 0 or #messages >= places or looks == 0 then more = true break end
      after, looks = seq, looks - 1
      local m, record = unread_message(seq, nil, now)
      if m and m.urgency >= min_rank then
        messages[#messages + 1] = {seq, record}
        room = room - #record
      end
    end
  end
  return {'snapshot', meta.epoch, pin_seq, pin_tag, more and 0 or 1, urls, messages, 'messages', after}
end

if A.mode == 'snapshot' then
  if not is_ancestor(meta, A.at_epoch, A.at_seq, A.at_tag) then return {'lost'} end
  return snapshot(A.at_seq, A.at_tag, A.phase, A.after)
end
if not is_ancestor(meta, A.at_epoch, A.at_seq, A.at_tag) then return snapshot(int(meta.seq), meta.tag, 'urls', '0') end

local last = int(meta.seq) .. '-' .. meta.tag
local place = A.at_seq .. '-' .. A.at_tag
local entries = {}
local seq, tag = A.at_seq, A.at_tag
if place ~= last then
  for _, item in ipairs(redis.call('XRANGE', K.log, '(' .. place, '+', 'COUNT', places)) do
    local item_seq, item_tag = string.match(item[1], '^(%d+)-(%d+)$')
    if tonumber(item_seq) ~= tonumber(seq) + 1 then
      return snapshot(int(meta.seq), meta.tag, 'urls', '0')
    end
    if room <= 0 then break end
    seq, tag = item_seq, item_tag
    local entry = {}
    for i = 1, #item[2], 2 do entry[item[2][i]] = item[2][i + 1] end
    local shown
    if entry.k == 'm' then
      local m, record = unread_message(seq, tag, now)
      if m and m.urgency >= min_rank then shown = {seq, tag, 'm', record} end
    elseif entry.k == 'r' then
      shown = {seq, tag, 'r', entry.refs}
    elseif entry.k == 'd' then
      shown = {seq, tag, 'd', entry.reason, entry.refs}
    elseif entry.k == 'p' then
      local record = redis.call('HGET', K.push_urls, entry.id) or redis.call('HGET', K.ghosts, entry.id)
      if not record then return snapshot(int(meta.seq), meta.tag, 'urls', '0') end
      shown = {seq, tag, 'p', entry.id, record}
    elseif entry.k == 'x' then
      shown = {seq, tag, 'x', entry.id}
    end
    if shown then
      entries[#entries + 1] = shown
      room = room - #shown[4] - #(shown[5] or '') - 64
    end
  end
end
return {'delta', meta.epoch, seq, tag, (seq .. '-' .. tag == last) and 1 or 0, entries}
