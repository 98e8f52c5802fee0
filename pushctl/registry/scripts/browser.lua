-- Which device a browser is: the one of its user, which has never logged in.
-- Result: {'done', device or '' (it was lost)} | {'gone'} | {'unknown'}
--!use base
--!keys meta gone devices
--!args shift_ms
if not read_meta() then return absent() end
return {'done', redis.call('HKEYS', K.devices)[1] or ''}
