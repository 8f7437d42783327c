-- A user's unread count. $1 the user.
SELECT unread FROM {schema}.inbox_owner WHERE user_id = $1::text;
