-- Adds items and moves the position of the projection, both or neither.
-- $1, $2  the new position: epoch, offset          $3, $4  the position that it must stand at now
-- $5 … $9 the items: user, event type, event key, payload, logged at (seconds since the Unix epoch)
-- $10     an event that was logged so many seconds before, or less, is the same one logged again
-- $11     the channel on which the unread counts are told
WITH moved AS (
    UPDATE {schema}.projection SET epoch = $1::text, log_offset = $2::bigint
    WHERE epoch = $3::text AND log_offset = $4::bigint
    RETURNING true
), added AS (
    INSERT INTO {schema}.inbox_item (user_id, event_type, event_key, payload, logged_at)
    SELECT item.user_id, item.event_type, item.event_key, item.payload, to_timestamp(item.logged_at)
    FROM moved
    CROSS JOIN unnest($5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::float8[])
        WITH ORDINALITY AS item (user_id, event_type, event_key, payload, logged_at, place)
    WHERE NOT EXISTS (
        SELECT FROM {schema}.inbox_item AS old
        WHERE old.user_id = item.user_id AND old.event_key = item.event_key
            AND old.logged_at > to_timestamp(item.logged_at) - make_interval(secs => $10::float8)
    )
    ORDER BY item.place
    RETURNING user_id
), counted AS (
    INSERT INTO {schema}.inbox_owner AS owner (user_id, items, unread, changed_at)
    SELECT user_id, count(*), count(*), clock_timestamp() FROM added GROUP BY user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET
        items = owner.items + excluded.items,
        unread = owner.unread + excluded.unread,
        changed_at = excluded.changed_at
    RETURNING user_id, unread
)
SELECT
    (SELECT count(*) FROM moved) AS moved,
    (SELECT count(*) FROM added) AS added,
    (SELECT count(pg_notify($11::text, unread || ' ' || user_id)) FROM counted) AS told;
