CREATE TABLE api_keys (
    id              text COLLATE "C" CONSTRAINT api_keys_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" NOT NULL CONSTRAINT api_keys_organisation_id_fkey REFERENCES organisations (id),
    workspace_id    text COLLATE "C" CONSTRAINT api_keys_workspace_id_fkey REFERENCES workspaces (id),
    role            text NOT NULL CONSTRAINT api_keys_role_check CHECK (role IN ('owner', 'admin', 'viewer')),
    name            text NOT NULL,
    hash            bytea NOT NULL CONSTRAINT api_keys_hash_key UNIQUE,
    created_at      timestamptz NOT NULL,
    revoked_at      timestamptz
);
CREATE INDEX api_keys_organisation_id_idx ON api_keys (organisation_id, id);
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the whole key; the key itself is shown once and never stored.';
COMMENT ON COLUMN api_keys.workspace_id IS 'Set: the key reaches this workspace alone. Null: the whole organisation.';
