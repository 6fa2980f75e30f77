CREATE TABLE workspaces (
    id                 text COLLATE "C" CONSTRAINT workspaces_pkey PRIMARY KEY,
    organisation_id    text COLLATE "C" NOT NULL CONSTRAINT workspaces_organisation_id_fkey REFERENCES organisations (id),
    name               text NOT NULL,
    redirect_allowlist text[] NOT NULL DEFAULT '{}',
    created_at         timestamptz NOT NULL
);
CREATE INDEX workspaces_organisation_id_idx ON workspaces (organisation_id, id);
COMMENT ON TABLE workspaces IS 'The isolation boundary inside an organisation: accounts, connects and grants belong to one workspace.';
COMMENT ON COLUMN workspaces.redirect_allowlist IS 'Where a connect may send the browser back to; empty: any https URL, and http on loopback.';
