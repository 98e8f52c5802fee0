-- What is to do in a job stream, and who does it.
-- Result: {jobs, bytes, age of the oldest ms, router, pending, idle ms, ...}
--!use jobs backlog
--!keys stream bytes
--!args group
local jobs, bytes, age = backlog()
local result = {jobs, bytes, age}
for _, consumer in ipairs(consumers()) do
  result[#result + 1] = consumer.name
  result[#result + 1] = consumer.pending
  result[#result + 1] = consumer.idle
end
return result
