CREATE TABLE data_keys (
    id              text COLLATE "C" CONSTRAINT data_keys_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" CONSTRAINT data_keys_organisation_id_fkey REFERENCES organisations (id),
    workspace_id    text COLLATE "C" CONSTRAINT data_keys_workspace_id_fkey REFERENCES workspaces (id),
    kek_id          text NOT NULL,
    wrapped         bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT data_keys_owner_check CHECK (workspace_id IS NULL OR organisation_id IS NOT NULL)
);
CREATE UNIQUE INDEX data_keys_installation_key ON data_keys ((true)) WHERE organisation_id IS NULL;
CREATE INDEX data_keys_organisation_id_idx ON data_keys (organisation_id, id) WHERE workspace_id IS NULL;
CREATE INDEX data_keys_workspace_id_idx ON data_keys (workspace_id, id) WHERE workspace_id IS NOT NULL;
COMMENT ON TABLE data_keys IS 'Keys that seal values, themselves wrapped by a key-encryption key of the keyring. Without a workspace: the organisation''s own (apps, webhook endpoints); without either: the installation''s one, for keyed hashes. The newest of an owner seals, all open.';

CREATE TABLE keyring_canaries (
    kek_id     text CONSTRAINT keyring_canaries_pkey PRIMARY KEY,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE keyring_canaries IS 'One known value per key-encryption key, opened at boot: a wrong key under a right name is found before it can do harm.';
