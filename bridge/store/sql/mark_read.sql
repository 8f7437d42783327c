-- Marks a user's items as read and tells the unread count. $1 the user, $2 the items, $3 the channel.
WITH wanted AS (
    -- In one order, so that two that mark the same items wait for each other and do not deadlock.
    SELECT item_id FROM {schema}.inbox_item
    WHERE user_id = $1::text AND item_id = ANY($2::bigint[]) AND read_at IS NULL
    ORDER BY item_id FOR UPDATE
), marked AS (
    UPDATE {schema}.inbox_item AS item SET read_at = now()
    FROM wanted WHERE item.item_id = wanted.item_id
    RETURNING item.item_id
), counted AS (
    UPDATE {schema}.inbox_owner AS owner SET unread = unread - change.items, changed_at = clock_timestamp()
    FROM (SELECT count(*) AS items FROM marked) AS change
    WHERE owner.user_id = $1::text AND change.items > 0
    RETURNING owner.unread, pg_notify($3::text, owner.unread || ' ' || owner.user_id)
)
SELECT coalesce(
    (SELECT unread FROM counted),
    (SELECT unread FROM {schema}.inbox_owner WHERE user_id = $1::text),
    0
) AS unread;
