CREATE TABLE webhook_replays (
    endpoint_id     text COLLATE "C" CONSTRAINT webhook_replays_pkey PRIMARY KEY
        CONSTRAINT webhook_replays_endpoint_id_fkey REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    organisation_id text COLLATE "C" NOT NULL,
    after_epoch     integer NOT NULL,
    after_xid       bigint NOT NULL,
    after_id        text COLLATE "C" NOT NULL,
    epoch           integer NOT NULL,
    existing        text NOT NULL,
    asked_at        timestamptz NOT NULL,
    worked_at       timestamptz NOT NULL
);
COMMENT ON TABLE webhook_replays IS 'Replays that are not through yet: one for an endpoint at most.';
COMMENT ON COLUMN webhook_replays.after_epoch IS 'With after_xid and after_id: the place in the event log behind which there is still something to do.';
COMMENT ON COLUMN webhook_replays.existing IS 'A snapshot (pg_snapshot): what of this epoch had been committed when the replay was asked for: later events are delivered anyway.';
COMMENT ON COLUMN webhook_replays.worked_at IS 'When it last had its turn.';
