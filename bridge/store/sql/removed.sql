-- What every sweep does with the items that are `doomed`. $3 the channel.
removed AS (
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
