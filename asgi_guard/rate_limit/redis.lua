-- Decides requests one after the other, each on all of its charges: all are charged, or none is.
--
-- KEYS: a key for each charge of each request, in order; where it may be banned, the key of its
--       refusals after it.
-- ARGV[1]: numbers; for each request how many charges it has, and for each charge seven of them:
--          algorithm, count, period in microseconds, burst, share, cost, extra. Of what remains one
--          part in `share` may be taken as extra units; a cost below 0 gives units back, and extra is
--          the age of their charge in microseconds. Where keys may be banned, the algorithm has 10
--          on top, and before the cost there are the terms: after how many refusals, within how
--          many microseconds, how long, how many times as long the next time, how long at most.
-- Returns numbers, five for each charge: admitted (1 or 0, -1 for a ban, -2 where it begins),
-- remaining, the microseconds to reset and to retry, where -1 stands for never, and the extra units
-- that were taken.
--
-- Numbers travel as one string, with spaces between: clients take their time for each value.
--
-- A key holds numbers, by its algorithm: 1, sliding window: number of the window, units of the one
-- before, units of this one; 2, fixed window: number of the window, units; 3, token bucket: when it
-- will be full. The arithmetic is that of algorithms.py. The key of refusals holds a record of
-- ban.py, with its arithmetic.

local asked = {}
for number in string.gmatch(ARGV[1], '%S+') do
  asked[#asked + 1] = tonumber(number)
end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local known = {} -- what each key holds, read once
local written = {} -- milliseconds to keep each key that has changed

local function read(key)
  local state = known[key]
  if not state then
    state = {}
    local text = redis.call('GET', key)
    if text then
      for number in string.gmatch(text, '%S+') do
        state[#state + 1] = tonumber(number)
      end
    end
    known[key] = state
  end
  return state
end

-- The time until at most `room` units count, where the window before fades within this one.
local function wait(previous, current, elapsed, period, room)
  local rest = period - elapsed
  if current <= room then
    local faded = 0
    if previous > 0 then
      faded = period * (1 - (room - current + 1) / previous)
    end
    return math.max(0, math.min(rest, faded - elapsed))
  end
  return rest + math.max(0, period * (1 - (room + 1) / current))
end

local function sliding_window(state, count, period, burst, cost, age)
  local window = math.floor(now / period)
  local elapsed = now - window * period
  local previous, current = 0, 0
  if state[1] == window then
    previous, current = state[2], state[3]
  elseif state[1] == window - 1 then
    previous = state[3]
  end
  local fading = math.floor(previous * (1 - elapsed / period))
  local used = fading + current
  local gives = cost < 0 -- which is never refused: a key may be over quota, where that was lowered
  if gives then
    local charged = math.floor((now - age) / period)
    if charged == window then
      current = math.max(0, current + cost)
    elseif charged == window - 1 then
      previous = math.max(0, previous + cost)
      fading = math.floor(previous * (1 - elapsed / period))
    end
    cost = 0
    used = fading + current
  end
  if used + cost > count and not gives then
    local reset, retry = 0, -1
    if used > 0 then
      reset = wait(previous, current, elapsed, period, math.min(used, count) - 1)
    end
    if cost <= count then
      retry = wait(previous, current, elapsed, period, count - cost)
    end
    return 0, math.max(0, count - used), reset, retry
  end
  local reset = 0
  if fading > 0 then
    reset = math.min(period - elapsed, period * (1 - fading / previous) - elapsed)
  elseif used + cost > 0 then
    reset = period - elapsed
  end
  return 1, math.max(0, count - used - cost), reset, 0, { window, previous, current + cost }, 2 * period - elapsed
end

local function fixed_window(state, count, period, burst, cost, age)
  local window = math.floor(now / period)
  local rest = (window + 1) * period - now
  local used, gives = 0, cost < 0
  if state[1] == window then
    used = state[2]
    if gives and math.floor((now - age) / period) == window then
      used = math.max(0, used + cost)
    end
  end
  cost = math.max(0, cost)
  if used + cost > count and not gives then
    return 0, math.max(0, count - used), used > 0 and rest or 0, cost <= count and rest or -1
  end
  local total = used + cost
  return 1, math.max(0, count - total), total > 0 and rest or 0, 0, { window, total }, rest
end

local function tokens(interval, burst, full_in, margin)
  if full_in <= margin then
    return burst, 0
  end
  local left = math.max(0, math.floor(burst - (full_in - margin) / interval))
  return left, math.max(0, full_in - (burst - left - 1) * interval)
end

local function token_bucket(state, count, period, burst, cost, age)
  local interval, gives = period / count, cost < 0
  if gives and age >= burst * interval then
    cost = 0 -- it has filled since
  end
  local margin = math.min(1, interval / 2)
  local full_in = math.max(0, (state[1] or now) - now)
  local missing = full_in + (cost - burst) * interval
  if missing > margin and not gives then
    local left, reset = tokens(interval, burst, full_in, margin)
    return 0, left, reset, cost <= burst and missing or -1
  end
  full_in = math.max(0, full_in + cost * interval)
  local left, reset = tokens(interval, burst, full_in, margin)
  return 1, left, reset, 0, { now + full_in }, full_in
end

local WITH_BAN = 10
local algorithms = { sliding_window, fixed_window, token_bucket }

local function decide(charge, cost)
  local state = read(KEYS[charge.key])
  local at = charge.argument
  local algorithm = algorithms[asked[at] % WITH_BAN]
  return algorithm(state, asked[at + 1], asked[at + 2], asked[at + 3], cost, asked[charge.rest + 1])
end

local function keep(name, state, microseconds)
  known[name], written[name] = state, math.min(math.ceil(microseconds / 1000) + 1, 1e14)
end

-- What a banned key is told, less the microsecond that every answer has on top.
local function while_banned(kind, rest, decision)
  local admitted, remaining, reset, retry = unpack(decision)
  rest = math.max(0, rest - 1)
  if admitted == 1 then
    return { kind, 0, rest, rest }
  end
  reset = remaining > 0 and rest or math.max(rest, reset)
  return { kind, 0, reset, retry < 0 and -1 or math.max(rest, retry) }
end

local function decide_unless_banned(charge, cost)
  local decision = { decide(charge, cost) }
  if charge.bans and cost >= 0 then
    local until_then = read(KEYS[charge.bans])[3]
    if until_then and now < until_then then
      return while_banned(-1, until_then - now, decision)
    end
  end
  return decision
end

-- Counts a refusal of a key that is not banned; returns what it is told.
local function count_refusal(charge, decision)
  local name, at = KEYS[charge.bans], charge.argument + 5
  local after, within, lasts_first = asked[at], asked[at + 1], asked[at + 2]
  local multiplier, longest = asked[at + 3], asked[at + 4]
  local record = read(name)
  local began, refusals, until_then = record[1] or now, record[2] or 0, record[3] or now
  local lasts = record[4] or 0
  if now >= (record[5] or now) then
    lasts = 0
  end
  if refusals == 0 or now - began >= within then
    began, refusals = now, 0
  end
  refusals = refusals + 1
  if refusals < after then
    keep(name, { began, refusals, until_then, lasts, now + lasts }, math.max(began + within - now, lasts))
    return decision
  end
  lasts = lasts > 0 and math.min(longest, lasts * multiplier) or lasts_first
  until_then = now + lasts
  keep(name, { now, 0, until_then, lasts, until_then + lasts }, 2 * lasts)
  return while_banned(-2, lasts, decision)
end

local answers = {}
local function answer(taken, admitted, remaining, reset, retry)
  local waits = admitted <= 0 and retry >= 0 -- not for nothing, however short
  reset = (waits or reset > 0) and math.ceil(reset) + 1 or 0
  retry = waits and math.ceil(retry) + 1 or retry
  answers[#answers + 1] =
    string.format('%.0f %.0f %.0f %.0f %.0f', admitted, remaining, reset, retry, taken)
end

local key, argument = 0, 1
while argument <= #asked do
  local charges = {}
  local first = argument + 1
  for number = 1, asked[argument] do
    key = key + 1
    local charge = { key = key, argument = first, rest = first + 5 }
    if asked[first] > WITH_BAN then
      key = key + 1
      charge.bans, charge.rest = key, first + 10
    end
    charges[number] = charge
    first = charge.rest + 2
  end
  argument = first

  local admitted = true
  for _, charge in ipairs(charges) do
    charge.cost = asked[charge.rest]
    charge.decision = decide_unless_banned(charge, charge.cost)
    admitted = admitted and charge.decision[1] == 1
  end
  for _, charge in ipairs(charges) do
    local decision, taken = charge.decision, 0
    if admitted and charge.cost ~= 0 then
      local extra = asked[charge.rest + 1]
      if extra > 0 and charge.cost > 0 then
        taken = math.min(extra, math.floor(decision[2] / asked[charge.argument + 4]))
        decision = { decide(charge, charge.cost + taken) }
      end
      keep(KEYS[charge.key], decision[5], decision[6])
    elseif not admitted and decision[1] == 1 then
      decision = { decide(charge, 0) }
    elseif charge.bans and decision[1] == 0 and charge.cost > 0 then
      decision = count_refusal(charge, decision)
    end
    answer(taken, decision[1], decision[2], decision[3], decision[4])
  end
end

for name, milliseconds in pairs(written) do
  local numbers = {}
  for place, number in ipairs(known[name]) do
    numbers[place] = string.format('%.17g', number)
  end
  redis.call('SET', name, table.concat(numbers, ' '), 'PX', string.format('%.0f', milliseconds))
end
return table.concat(answers, ' ')
