-- The inbox: what happened for a user and waits to be read.
CREATE TABLE {schema}.inbox_item (
    item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    event_type text NOT NULL,
    event_key bytea NOT NULL,      -- A digest of event type and event id: the event's identity.
    payload bytea NOT NULL,        -- The JSON object that sockets get, byte for byte.
    logged_at timestamptz NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    read_at timestamptz
);
CREATE INDEX inbox_item_of_user ON {schema}.inbox_item (user_id, item_id);
CREATE INDEX inbox_item_by_event ON {schema}.inbox_item (user_id, event_key);
CREATE INDEX inbox_item_by_age ON {schema}.inbox_item (added_at);

-- Counters by user. Whoever changes them holds the row until commit, so the last count told is the true one.
CREATE TABLE {schema}.inbox_owner (
    user_id text PRIMARY KEY,
    items bigint NOT NULL,
    unread bigint NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX inbox_owner_by_change ON {schema}.inbox_owner (changed_at);

-- How far the event log has been projected: one row, moved in the transaction that adds the items.
CREATE TABLE {schema}.projection (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch text NOT NULL,           -- Empty before the first.
    log_offset bigint NOT NULL
);
INSERT INTO {schema}.projection (epoch, log_offset) VALUES ('', 0);
