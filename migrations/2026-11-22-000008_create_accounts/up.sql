CREATE TABLE accounts (
    id               text COLLATE "C" CONSTRAINT accounts_pkey PRIMARY KEY,
    workspace_id     text COLLATE "C" NOT NULL CONSTRAINT accounts_workspace_id_fkey REFERENCES workspaces (id),
    platform         text NOT NULL,
    platform_user_id text NOT NULL,
    app_id           text COLLATE "C" CONSTRAINT accounts_app_id_fkey REFERENCES apps (id),
    profile_id       text COLLATE "C" CONSTRAINT accounts_profile_id_fkey REFERENCES profiles (id),
    grant_id         text COLLATE "C" CONSTRAINT accounts_grant_id_fkey REFERENCES grants (id),
    username         text,
    display_name     text,
    avatar_url       text,
    status           text NOT NULL CONSTRAINT accounts_status_check CHECK (status IN ('connected', 'token_expired', 'disconnected')),
    status_reason    text,
    scopes           text[] NOT NULL DEFAULT '{}',
    missing_scopes   text[] NOT NULL DEFAULT '{}',
    metadata         jsonb NOT NULL DEFAULT '{}',
    event_sequence   bigint NOT NULL DEFAULT 0,
    revocation       jsonb,
    connected_at     timestamptz NOT NULL,
    token_expired_at timestamptz,
    disconnected_at  timestamptz,
    created_at       timestamptz NOT NULL,
    CONSTRAINT accounts_identity_key UNIQUE (workspace_id, platform, platform_user_id)
) WITH (fillfactor = 80);
CREATE INDEX accounts_grant_id_idx ON accounts (grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX accounts_workspace_id_idx ON accounts (workspace_id, id);
COMMENT ON TABLE accounts IS 'One connected social account. The same platform identity in the same workspace keeps its id for ever, also over a disconnect.';
COMMENT ON COLUMN accounts.event_sequence IS 'The sequence of the account''s newest event; the row''s lock orders them.';
COMMENT ON COLUMN accounts.revocation IS 'The receipt: what became of the tokens after a disconnect, and what the platform said.';
