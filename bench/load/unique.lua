-- Every request has a path and header values that were never sent before: nothing remembered can help.
local number = os.time() * 1000000
local host = ""

function init(args)
  host = " HTTP/1.1\r\nhost: " .. wrk.host .. ":" .. wrk.port .. "\r\nuser-agent: bench\r\naccept: */*\r\n"
end

function request()
  number = number + 1
  local id = string.format("%.0f", number)
  return "GET /service/item/" .. id .. "?page=" .. id .. host .. "x-trace: " .. id ..
    "\r\ncookie: session=" .. id .. "\r\n\r\n"
end
