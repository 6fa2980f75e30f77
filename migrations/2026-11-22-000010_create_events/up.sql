CREATE TABLE events (
    id              text COLLATE "C" NOT NULL,
    organisation_id text COLLATE "C" NOT NULL,
    workspace_id    text COLLATE "C" NOT NULL,
    type            text NOT NULL,
    account_id      text COLLATE "C",
    sequence        bigint,
    data            jsonb NOT NULL,
    xid             bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    created_at      timestamptz NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_log_idx ON events (organisation_id, xid, id);
COMMENT ON TABLE events IS 'What happened, for the world to read. Dropped by day.';
COMMENT ON COLUMN events.xid IS 'The transaction that wrote the event. Readers take only events below the oldest transaction still running, in order (xid, id), so that a late commit is never skipped.';
