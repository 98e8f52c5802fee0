-- Push URLs at rest.  record = '<number> <created ms> <key id> <site> <vapid key or ->\n<icon>'
local PUSH_URL = '^(%d+) (%d+) (%S+) (%S+) (%S+)\n(.*)$'

-- Whether a push URL is bound to a key, and this is not it ('' = not signed at all).
local function takes_only(record, signed_by)
  local vapid = string.match(record, '^%S+ %S+ %S+ %S+ (%S+)')
  return vapid ~= '-' and vapid ~= signed_by
end

-- What a revoked push URL leaves behind while the log names it: all but a picture.
local function ghost(record)
  local head, icon = string.match(record, '^([^\n]*\n)(.*)$')
  if string.sub(icon, 1, 5) == 'data:' then icon = '' end
  return head .. icon
end
