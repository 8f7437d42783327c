-- A page of a user's inbox, oldest first. $1 the user, $2 the id to start after, $3 how many at most.
SELECT item_id, payload, read_at IS NOT NULL AS read
FROM {schema}.inbox_item
WHERE user_id = $1::text AND item_id > $2::bigint
ORDER BY item_id LIMIT $3::bigint;
