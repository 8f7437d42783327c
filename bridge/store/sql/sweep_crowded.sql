-- Removes the oldest items of users who have too many.
-- $1 how many a user may have, $2 how many to remove at most, $3 the channel.
WITH crowded AS (
    SELECT user_id, items - $1::bigint AS surplus FROM {schema}.inbox_owner
    WHERE items > $1::bigint
    ORDER BY user_id LIMIT $2::bigint
), doomed AS (
    SELECT oldest.item_id FROM crowded
    CROSS JOIN LATERAL (
        SELECT item_id FROM {schema}.inbox_item AS item
        WHERE item.user_id = crowded.user_id
        ORDER BY item_id LIMIT least(crowded.surplus, $2::bigint) FOR UPDATE SKIP LOCKED
    ) AS oldest
    LIMIT $2::bigint
), {removed}
