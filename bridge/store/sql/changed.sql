-- The unread counts that changed lately. $1 how many seconds back, $2 how many at most, the newest first.
SELECT user_id, unread FROM {schema}.inbox_owner
WHERE changed_at > now() - make_interval(secs => $1::float8)
ORDER BY changed_at DESC LIMIT $2::bigint;
