package redis

import goredis "github.com/redis/go-redis/v9"

// Each script touches the one key it is given, or several in one slot. ARGV and
// replies hold values in the layout that doc.go draws. Numbers are Lua doubles:
// exact up to 2^53, which is microseconds until the year 2255. An empty reply is
// ” and not nil, so that a pipeline's error is always an error.
var (
	// putKey stores a route under its key unless a newer one stands.
	// ARGV: stamp in decimal or 0, the value behind the stamp.
	// Reply: '' if a newer one stands, otherwise the stamp as 7 bytes and the
	// value that stood before, if any.
	putKey = goredis.NewScript(`
local old = redis.call('GET', KEYS[1])
local was = 0
if old then was = struct.unpack('>I7', old, 2) end
local stamp = tonumber(ARGV[1])
if stamp == 0 then
  local t = redis.call('TIME')
  stamp = math.max(was + 1, t[1] * 1000000 + t[2])
elseif stamp < was then
  return ''
elseif stamp == was then
  local n = 8 + string.byte(ARGV[2], 8)
  if string.sub(old, 9, 8 + n) ~= string.sub(ARGV[2], 1, n) then return '' end
end
local packed = struct.pack('>I7', stamp)
redis.call('SET', KEYS[1], '\1' .. packed .. ARGV[2])
return packed .. (old or '')`)

	// putMid stores a route under its mid unless a newer one of that key is
	// there. ARGV: key, value.
	putMid = goredis.NewScript(`
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and struct.unpack('>I7', old, 2) > struct.unpack('>I7', ARGV[2], 2) then return '' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ''`)

	// dropOlder removes a key from a mid that a newer route of that key does
	// not have. ARGV: key, value of the newer route.
	dropOlder = goredis.NewScript(`
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and struct.unpack('>I7', old, 2) < struct.unpack('>I7', ARGV[2], 2) then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return ''`)

	// cutMid removes a key from a mid if it stands with that value.
	// ARGV: key, value.
	cutMid = goredis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return ''`)

	// cutKey removes the route of a key if it stands with that value up to the
	// mid. ARGV: value up to the mid. Reply: the mid of the removed route.
	cutKey = goredis.NewScript(`
local old = redis.call('GET', KEYS[1])
local n = string.len(ARGV[1])
if not old or string.sub(old, 1, n) ~= ARGV[1] then return '' end
redis.call('DEL', KEYS[1])
return string.sub(old, n + 1)`)

	// renew stores a lease. KEYS: epochs, leases, infos.
	// ARGV: id, epoch or 0, JSON, TTL in ms, how long ended leases are kept in
	// ms, how long epochs of lives are kept in µs. Reply: the epoch, 0 if a
	// newer life was begun.
	//
	// An epoch that is forgotten is that of a node that is gone, or of one that
	// stores it again within a second.
	renew = goredis.NewScript(`
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local ms = math.floor(us / 1000)
local last = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local epoch = tonumber(ARGV[2])
if epoch == 0 then
  epoch = math.max(last + 1, us)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', us - ARGV[6]))
  local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', ms - ARGV[5]), 'LIMIT', 0, 1000)
  for _, id in ipairs(gone) do
    redis.call('ZREM', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
  end
elseif epoch < last then
  return 0
end
local e = string.format('%.0f', epoch)
redis.call('ZADD', KEYS[1], e, ARGV[1])
redis.call('ZADD', KEYS[2], string.format('%.0f', ms + ARGV[4]), ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], e .. ' ' .. t[1] .. ' ' .. ARGV[3])
return epoch`)

	// leave ends a lease. KEYS: leases, infos. ARGV: id, epoch.
	leave = goredis.NewScript(`
local info = redis.call('HGET', KEYS[2], ARGV[1])
if info and string.match(info, '^%d+') == ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
end
return ''`)

	// list returns the infos of the leases that stand. KEYS: leases, infos.
	list = goredis.NewScript(`
local t = redis.call('TIME')
local ms = math.floor(t[1] * 1000 + t[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', ms), '+inf')
local out = {}
for _, id in ipairs(ids) do
  local info = redis.call('HGET', KEYS[2], id)
  if info then out[#out + 1] = info end
end
return out`)

	// tryLock takes or renews a lock. ARGV: owner, TTL in ms. Reply: 1 if owner
	// holds it.
	tryLock = goredis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

	// replaceRooms puts a list that was prepared in the place of the one that
	// stands; an empty list does not exist. KEYS: list, prepared list, name for
	// the old list until its memory is freed in the background.
	replaceRooms = goredis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[3])
  redis.call('UNLINK', KEYS[3])
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[1])
  redis.call('PERSIST', KEYS[1])
end
return ''`)

	// batched are the scripts that run in pipelines, where go-redis cannot send
	// the text of a script that Redis does not know.
	batched = []*goredis.Script{putKey, putMid, dropOlder, cutMid, cutKey}
)
