-- What several processes know of one breaker. Times are this server's alone: they are the lives of keys.
-- KEYS: how long it is open, who makes its trials. ARGV: word, who asks, milliseconds, channel, name.
local open, trial = KEYS[1], KEYS[2]
local word, me, milliseconds, channel, name = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local function left(key)
  return math.max(redis.call('PTTL', key), 0)
end

local function tell(number)
  redis.call('PUBLISH', channel, string.format('%s %s %d %s', word, me, number, name))
end

if word == 'look' then
  return left(open)
elseif word == 'ask' then -- 0: the trials are yours
  local taken = left(trial) -- 0 as well where somebody else has put a key that never ends
  if taken > 0 and redis.pcall('GET', trial) ~= me then
    return taken
  end
  redis.call('SET', trial, me, 'PX', milliseconds)
  return 0
elseif word == 'trial' then
  redis.call('SET', trial, me, 'PX', milliseconds)
  tell(milliseconds)
elseif word == 'open' then
  milliseconds = math.max(milliseconds, left(open)) -- never shorter than somebody has been told
  redis.call('SET', open, me, 'PX', milliseconds)
  redis.call('DEL', trial)
  tell(milliseconds)
elseif word == 'close' then
  redis.call('DEL', open, trial)
  tell(0)
end
return 0
