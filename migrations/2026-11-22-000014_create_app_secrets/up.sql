CREATE TABLE app_secrets (
    id              text COLLATE "C" CONSTRAINT app_secrets_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" NOT NULL CONSTRAINT app_secrets_organisation_id_fkey REFERENCES organisations (id),
    app_id          text COLLATE "C" NOT NULL CONSTRAINT app_secrets_app_id_fkey REFERENCES apps (id) ON DELETE CASCADE,
    sealed_secret   bytea NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX app_secrets_app_id_idx ON app_secrets (app_id, created_at);
COMMENT ON TABLE app_secrets IS 'The client secrets of an app, sealed with the organisation''s data key: one, or two while it is being changed. The newest is presented first.';

-- Nothing could make an app before its secrets had a table: no row loses anything.
ALTER TABLE apps DROP COLUMN sealed_secret;
