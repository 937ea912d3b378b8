-- Decides questions one after the other, each on all of its charges: all are charged, or none is.
--
-- KEYS: a key for each charge of each question, in order; where it may be banned, the key of its
--       refusals after it.
-- ARGV[1]: numbers, for each group of questions that are alike but for their keys: how many
--          questions, how many charges each of them has, and how many numbers are wanted for a
--          charge, 3 or 4; then for each charge seven: algorithm, count, period in microseconds,
--          burst, share, cost, extra. Of what remains one part in `share` may be taken as extra
--          units, also beside a cost of 0; a cost below 0 gives units back, and extra is the age of their charge in
--          microseconds. Where keys may be banned, the algorithm has 10 on top, and before the cost
--          there are the terms: after how many refusals, within how many microseconds, how long, how
--          many times as long the next time, how long at most.
-- Returns numbers for each charge: remaining, the microseconds to reset and to retry, where 0 stands
-- for admitted and -1 for never; and, where four are wanted, the extra units that were taken, or -1
-- for a ban, and -2 where it begins.
--
-- Numbers travel as one string, with spaces between: clients take their time for each value.
--
-- A key holds numbers, of 8 bytes each, by its algorithm: 1, sliding window: number of the window,
-- units of the one before, units of this one; 2, fixed window: number of the window, units; 3, token
-- bucket: when it will be full. The arithmetic is that of algorithms.py. The key of refusals holds a
-- record of ban.py, with its arithmetic. The first number of a counter tells when its key expires.

local format, floor, ceil, max, min = string.format, math.floor, math.ceil, math.max, math.min

-- How numbers are kept, by how many bytes they take: what is of another length is none of ours.
local kept = { [8] = '<d', [16] = '<dd', [24] = '<ddd', [40] = '<ddddd' }

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local known = {} -- what each key holds: bytes, or numbers once it was looked at
local written = {} -- milliseconds to keep each key that has changed; 0 for as long as it is kept now

for first = 1, #KEYS, 1000 do -- not more than a call may have arguments
  local held = redis.call('MGET', unpack(KEYS, first, min(first + 999, #KEYS)))
  for place = 1, #held do
    known[KEYS[first + place - 1]] = held[place]
  end
end

local function read(key)
  local state = known[key]
  if type(state) ~= 'table' then
    local form = state and kept[#state]
    state = form and { struct.unpack(form, state) } or {}
    state[#state] = nil -- where the bytes end
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
    return max(0, min(rest, faded - elapsed))
  end
  return rest + max(0, period * (1 - (room + 1) / current))
end

-- Each algorithm returns: admitted (1 or 0), remaining, the microseconds to reset and to retry; and
-- where it admits the microseconds to keep what is left, which are up to three numbers.

local function sliding_window(state, count, period, burst, cost, age)
  local window = floor(now / period)
  local elapsed = now - window * period
  local previous, current = 0, 0
  if state[1] == window then
    previous, current = state[2], state[3]
  elseif state[1] == window - 1 then
    previous = state[3]
  end
  local fading = floor(previous * (1 - elapsed / period))
  local used = fading + current
  local gives = cost < 0 -- which is never refused: a key may be over quota, where that was lowered
  if gives then
    local charged = floor((now - age) / period)
    if charged == window then
      current = max(0, current + cost)
    elseif charged == window - 1 then
      previous = max(0, previous + cost)
      fading = floor(previous * (1 - elapsed / period))
    end
    cost = 0
    used = fading + current
  end
  if used + cost > count and not gives then
    local reset, retry = 0, -1
    if used > 0 then
      reset = wait(previous, current, elapsed, period, min(used, count) - 1)
    end
    if cost <= count then
      retry = wait(previous, current, elapsed, period, count - cost)
    end
    return 0, max(0, count - used), reset, retry
  end
  local reset = 0
  if fading > 0 then
    reset = min(period - elapsed, period * (1 - fading / previous) - elapsed)
  elseif used + cost > 0 then
    reset = period - elapsed
  end
  return 1, max(0, count - used - cost), reset, 0, 2 * period - elapsed, window, previous, current + cost
end

local function fixed_window(state, count, period, burst, cost, age)
  local window = floor(now / period)
  local rest = (window + 1) * period - now
  local used, gives = 0, cost < 0
  if state[1] == window then
    used = state[2]
    if gives and floor((now - age) / period) == window then
      used = max(0, used + cost)
    end
  end
  cost = max(0, cost)
  if used + cost > count and not gives then
    return 0, max(0, count - used), used > 0 and rest or 0, cost <= count and rest or -1
  end
  local total = used + cost
  return 1, max(0, count - total), total > 0 and rest or 0, 0, rest, window, total
end

local function tokens(interval, burst, full_in, margin)
  if full_in <= margin then
    return burst, 0
  end
  local left = max(0, floor(burst - (full_in - margin) / interval))
  return left, max(0, full_in - (burst - left - 1) * interval)
end

local function token_bucket(state, count, period, burst, cost, age)
  local interval, gives = period / count, cost < 0
  if gives and age >= burst * interval then
    cost = 0 -- it has filled since
  end
  local margin = min(1, interval / 2)
  local full_in = max(0, (state[1] or now) - now)
  local missing = full_in + (cost - burst) * interval
  if missing > margin and not gives then
    local left, reset = tokens(interval, burst, full_in, margin)
    return 0, left, reset, cost <= burst and missing or -1
  end
  full_in = max(0, full_in + cost * interval)
  local left, reset = tokens(interval, burst, full_in, margin)
  return 1, left, reset, 0, full_in, now + full_in
end

local algorithms = { sliding_window, fixed_window, token_bucket }

local asked = {}
for number in string.gmatch(ARGV[1], '%S+') do
  asked[#asked + 1] = tonumber(number)
end

local WITH_BAN = 10

-- `at` is the place of a charge's numbers, and `rest` that of its cost and of what is extra.
local function decide(name, at, rest, cost)
  return algorithms[asked[at] % WITH_BAN](
    read(name), asked[at + 1], asked[at + 2], asked[at + 3], cost, asked[rest + 1])
end

local function keep(name, microseconds)
  written[name] = min(ceil(microseconds / 1000) + 1, 1e14)
end

-- What a banned key is told, less the microsecond that every answer has on top.
local function while_banned(kind, rest, decision)
  local admitted, remaining, reset, retry = unpack(decision, 1, 4)
  rest = max(0, rest - 1)
  if admitted == 1 then
    return { kind, 0, rest, rest }
  end
  reset = remaining > 0 and rest or max(rest, reset)
  return { kind, 0, reset, retry < 0 and -1 or max(rest, retry) }
end

local function decide_unless_banned(name, record, at, rest, cost)
  local decision = { decide(name, at, rest, cost) }
  if record and cost >= 0 then
    local until_then = read(record)[3]
    if until_then and now < until_then then
      return while_banned(-1, until_then - now, decision)
    end
  end
  return decision
end

-- Counts a refusal of a key that is not banned; returns what it is told.
local function count_refusal(name, terms, decision)
  local after, within, lasts_first = asked[terms], asked[terms + 1], asked[terms + 2]
  local multiplier, longest = asked[terms + 3], asked[terms + 4]
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
    known[name] = { began, refusals, until_then, lasts, now + lasts }
    keep(name, max(began + within - now, lasts))
    return decision
  end
  lasts = lasts > 0 and min(longest, lasts * multiplier) or lasts_first
  until_then = now + lasts
  known[name] = { now, 0, until_then, lasts, until_then + lasts }
  keep(name, 2 * lasts)
  return while_banned(-2, lasts, decision)
end

local answers = {}
local function answer(admitted, remaining, reset, retry)
  local waits = admitted <= 0 and retry >= 0 -- not for nothing, however short
  reset = (waits or reset > 0) and ceil(reset) + 1 or 0
  retry = waits and ceil(retry) + 1 or retry
  answers[#answers + 1] = format('%d %d %d', remaining, reset, retry)
end

local key, group = 0, 1
while group <= #asked do
  local charges, width = asked[group + 1], asked[group + 2]
  local at, rest, place, record = {}, {}, {}, {} -- of each charge; the last two among a question's keys
  local argument, keys = group + 3, 0
  for number = 1, charges do
    at[number], rest[number], place[number] = argument, argument + 5, keys + 1
    if asked[argument] > WITH_BAN then
      rest[number], record[number] = argument + 10, keys + 2
    end
    argument, keys = rest[number] + 2, record[number] or place[number]
  end
  for question = 1, asked[group] do
    local admitted = true
    local decisions = {}
    for number = 1, charges do
      local bans = record[number] and KEYS[key + record[number]]
      local decision = decide_unless_banned(
        KEYS[key + place[number]], bans, at[number], rest[number], asked[rest[number]])
      decisions[number] = decision
      admitted = admitted and decision[1] == 1
    end
    for number = 1, charges do
      local name, decision, more = KEYS[key + place[number]], decisions[number], 0
      local cost, extra = asked[rest[number]], asked[rest[number] + 1]
      if admitted and (cost ~= 0 or extra > 0) then
        if extra > 0 and cost >= 0 then
          more = min(extra, floor(decision[2] / asked[at[number] + 4]))
          decision = { decide(name, at[number], rest[number], cost + more) }
        end
        local state = known[name]
        if state[1] ~= decision[6] then
          keep(name, decision[5])
        elseif not written[name] then
          written[name] = 0
        end
        state[1], state[2], state[3] = decision[6], decision[7], decision[8]
      elseif not admitted and decision[1] == 1 then
        decision = { decide(name, at[number], rest[number], 0) }
      elseif record[number] and decision[1] == 0 and cost > 0 then
        decision = count_refusal(KEYS[key + record[number]], at[number] + 5, decision)
      end
      answer(decision[1], decision[2], decision[3], decision[4])
      if width == 4 then
        answers[#answers + 1] = decision[1] < 0 and decision[1] or more
      end
    end
    key = key + keys
  end
  group = argument
end

for name, milliseconds in pairs(written) do
  local state = known[name]
  local bytes = struct.pack(kept[8 * #state], unpack(state))
  if milliseconds == 0 then -- half the work of setting it, and when it expires, anew
    redis.call('SETRANGE', name, 0, bytes)
  else
    redis.call('SET', name, bytes, 'PX', milliseconds)
  end
end
return table.concat(answers, ' ')
