-- name: time_of_database
SELECT (extract(epoch FROM now()) * 1000)::bigint;

-- name: sums
-- What was reported, by units of so many ms (an hour, a day).
SELECT hour - mod(hour, %(unit)s::bigint) AS at, name, sum(amount)::bigint AS amount
FROM sync.stats
WHERE hour >= %(since)s::bigint AND hour < %(until)s::bigint
GROUP BY hour - mod(hour, %(unit)s::bigint), name;

-- name: active_by_hour
SELECT a.day + h.start AS at, count(*) AS devices
FROM sync.activity a
JOIN unnest(%(hour_starts)b::bigint[], %(hour_bits)b::bigint[]) AS h (start, bit) ON (a.hours & h.bit) <> 0
WHERE a.day + h.start >= %(since)s::bigint AND a.day + h.start < %(until)s::bigint
GROUP BY a.day + h.start;

-- name: active_by_day
SELECT day AS at, count(*) AS devices
FROM sync.activity
WHERE day >= %(since)s::bigint AND day < %(until)s::bigint
GROUP BY day;
