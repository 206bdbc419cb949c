-- Walks 5,000 paths with a stride, so that neighbouring requests match routes that stand far apart.
local at = 0
local requests = {}

function init(args)
  for number = 0, 4999 do
    requests[number] = wrk.format("GET", string.format("/service/r%04d/get", number))
  end
end

function request()
  at = (at + 1597) % 5000
  return requests[at]
end
