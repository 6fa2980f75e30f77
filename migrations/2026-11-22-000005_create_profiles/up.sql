CREATE TABLE profiles (
    id           text COLLATE "C" CONSTRAINT profiles_pkey PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL CONSTRAINT profiles_workspace_id_fkey REFERENCES workspaces (id),
    external_id  text,
    name         text NOT NULL,
    metadata     jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    CONSTRAINT profiles_external_id_key UNIQUE (workspace_id, external_id)
);
COMMENT ON TABLE profiles IS 'The customer''s label for one of its end users.';
