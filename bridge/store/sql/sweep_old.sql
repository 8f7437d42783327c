-- Removes items that are too old. $1 the age in seconds, $2 how many at most, $3 the channel.
-- What somebody is marking at the moment is skipped: it is there for the next sweep.
WITH doomed AS (
    SELECT item_id FROM {schema}.inbox_item
    WHERE added_at < now() - make_interval(secs => $1::float8)
    ORDER BY added_at LIMIT $2::bigint FOR UPDATE SKIP LOCKED
), {removed}
