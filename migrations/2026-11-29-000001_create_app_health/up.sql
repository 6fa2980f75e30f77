CREATE TABLE app_health (
    platform          text NOT NULL,
    app_id            text COLLATE "C" NOT NULL,
    failing           jsonb NOT NULL DEFAULT '{}',
    failing_since     timestamptz,
    cause             text CONSTRAINT app_health_cause_check CHECK (cause IN ('failures', 'refusals', 'client')),
    reason            text,
    refused_since     timestamptz,
    recent_refusals   double precision NOT NULL DEFAULT 0,
    recent_successes  double precision NOT NULL DEFAULT 0,
    recent_at         timestamptz,
    succeeded_at      timestamptz,
    braked_since      timestamptz,
    probe_at          timestamptz,
    opened_at         timestamptz,
    refusals_believed boolean NOT NULL DEFAULT false,
    busy_until        timestamptz,
    announce          text CONSTRAINT app_health_announce_check CHECK (announce IN ('degraded', 'recovered')),
    announce_since    timestamptz,
    CONSTRAINT app_health_pkey PRIMARY KEY (platform, app_id)
) WITH (fillfactor = 80);
CREATE INDEX app_health_announce_idx ON app_health (platform, app_id) WHERE announce IS NOT NULL;
COMMENT ON TABLE app_health IS 'How the calls through each platform app go, and whether the brake is on.';
COMMENT ON COLUMN app_health.app_id IS 'The customer''s own app; empty: the installation''s; @host: a person''s own host.';
COMMENT ON COLUMN app_health.failing IS 'The grants whose calls failed since the last success, each with its last reason.';
COMMENT ON COLUMN app_health.cause IS 'What the last failure was: the call, a refusal of the grant, or a refusal of our client.';
COMMENT ON COLUMN app_health.refused_since IS 'Since when every failure was a refusal of a grant in clear words.';
COMMENT ON COLUMN app_health.recent_refusals IS 'Grants that were refused lately and not refreshed since, halved every ten minutes since recent_at; recent_successes alike.';
COMMENT ON COLUMN app_health.succeeded_at IS 'When the newest call that brought tokens was begun.';
COMMENT ON COLUMN app_health.braked_since IS 'Since when only probes call, and no account expires.';
COMMENT ON COLUMN app_health.probe_at IS 'When the next probe may call.';
COMMENT ON COLUMN app_health.opened_at IS 'When the brake was taken off last.';
COMMENT ON COLUMN app_health.refusals_believed IS 'Whether the brake was taken off because the refusals are true.';
COMMENT ON COLUMN app_health.busy_until IS 'Until when the planner dispatches little: the workers have no permits left for this app.';
COMMENT ON COLUMN app_health.announce IS 'The event that is still to be sent; announce_since is the begin of the trouble.';
