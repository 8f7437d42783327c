-- Removes the counters of users whose inbox has been empty for an hour. $1 how many at most.
WITH removed AS (
    DELETE FROM {schema}.inbox_owner WHERE user_id IN (
        SELECT user_id FROM {schema}.inbox_owner
        WHERE items = 0 AND changed_at < now() - interval '1 hour'
        LIMIT $1::bigint FOR UPDATE SKIP LOCKED
    )
    RETURNING user_id
)
SELECT count(*) AS removed FROM removed;
