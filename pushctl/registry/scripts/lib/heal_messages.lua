-- For scripts that write the log (lib/log.lua) or read it to a device: see lib/messages.lua. When messages themselves were
-- lost, what the devices were told of them is no longer so: nobody may stand at a place of before.
local function heal_messages(meta)
  local state = check_messages(meta)
  if state == 'whole' then return end
  index_anew()
  if state == 'lost' then break_log(meta) end
end
