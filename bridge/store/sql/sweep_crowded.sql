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
), removed AS (
    DELETE FROM {schema}.inbox_item AS item USING doomed
    WHERE item.item_id = doomed.item_id
    RETURNING item.user_id, item.read_at
), change AS (
    SELECT user_id, count(*) AS items, count(*) FILTER (WHERE read_at IS NULL) AS unread
    FROM removed GROUP BY user_id
), counted AS (
    UPDATE {schema}.inbox_owner AS owner SET
        items = owner.items - change.items,
        unread = owner.unread - change.unread,
        changed_at = clock_timestamp()
    FROM change WHERE owner.user_id = change.user_id
    RETURNING owner.user_id, owner.unread, change.unread > 0 AS tell
)
SELECT
    (SELECT count(*) FROM removed) AS removed,
    (SELECT count(pg_notify($3::text, unread || ' ' || user_id)) FROM counted WHERE tell) AS told;
