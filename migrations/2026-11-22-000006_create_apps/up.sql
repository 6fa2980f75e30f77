CREATE TABLE apps (
    id              text COLLATE "C" CONSTRAINT apps_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" NOT NULL CONSTRAINT apps_organisation_id_fkey REFERENCES organisations (id),
    workspace_id    text COLLATE "C" CONSTRAINT apps_workspace_id_fkey REFERENCES workspaces (id),
    platform        text NOT NULL,
    name            text NOT NULL,
    client_id       text NOT NULL,
    sealed_secret   bytea NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX apps_organisation_id_idx ON apps (organisation_id, id);
COMMENT ON TABLE apps IS 'OAuth clients that customers registered at a platform themselves. The installation''s own stand in its platforms file.';
