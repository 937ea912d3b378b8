-- A thousand clients: uvicorn takes the address of whoever speaks through a proxy on this machine.

local requests = {}

function init(args)
  math.randomseed(2026)
  for number = 0, 999 do
    local client = string.format('10.0.%d.%d', math.floor(number / 250), number % 250 + 1)
    local fields = { ['Host'] = 'api.example.com', ['X-Forwarded-For'] = client }
    requests[number + 1] = wrk.format('GET', nil, fields)
  end
end

function request()
  return requests[math.random(#requests)]
end
