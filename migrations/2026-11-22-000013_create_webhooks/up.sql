CREATE TABLE webhook_endpoints (
    id              text COLLATE "C" CONSTRAINT webhook_endpoints_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" NOT NULL CONSTRAINT webhook_endpoints_organisation_id_fkey REFERENCES organisations (id),
    workspace_id    text COLLATE "C" CONSTRAINT webhook_endpoints_workspace_id_fkey REFERENCES workspaces (id),
    url             text NOT NULL,
    event_types     text[] NOT NULL DEFAULT '{}',
    sealed_secret   bytea NOT NULL,
    disabled_at     timestamptz,
    disabled_reason text,
    created_at      timestamptz NOT NULL
);
CREATE INDEX webhook_endpoints_organisation_id_idx ON webhook_endpoints (organisation_id, id);
COMMENT ON COLUMN webhook_endpoints.event_types IS 'Empty: every type.';

CREATE TABLE webhook_deliveries (
    id              text COLLATE "C" CONSTRAINT webhook_deliveries_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" NOT NULL,
    endpoint_id     text COLLATE "C" NOT NULL CONSTRAINT webhook_deliveries_endpoint_id_fkey REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    event_id        text COLLATE "C" NOT NULL,
    event_at        timestamptz NOT NULL,
    status          text NOT NULL CONSTRAINT webhook_deliveries_status_check CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    attempt_until   timestamptz,
    last_status     integer,
    last_error      text,
    ended_at        timestamptz,
    created_at      timestamptz NOT NULL,
    CONSTRAINT webhook_deliveries_event_key UNIQUE (endpoint_id, event_id),
    CONSTRAINT webhook_deliveries_due_check CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_ended_idx ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON TABLE webhook_deliveries IS 'One event on its way to one endpoint; written in the event''s transaction.';
COMMENT ON COLUMN webhook_deliveries.event_at IS 'The event''s created_at: leads to its partition.';
COMMENT ON COLUMN webhook_deliveries.attempt_until IS 'Until when an attempt may still be under way: nobody else begins one.';
