CREATE TABLE connects (
    id               text COLLATE "C" CONSTRAINT connects_pkey PRIMARY KEY,
    workspace_id     text COLLATE "C" NOT NULL CONSTRAINT connects_workspace_id_fkey REFERENCES workspaces (id),
    platform         text NOT NULL,
    app_id           text COLLATE "C" CONSTRAINT connects_app_id_fkey REFERENCES apps (id),
    profile_id       text COLLATE "C" CONSTRAINT connects_profile_id_fkey REFERENCES profiles (id),
    account_id       text COLLATE "C" CONSTRAINT connects_account_id_fkey REFERENCES accounts (id),
    grant_id         text COLLATE "C" CONSTRAINT connects_grant_id_fkey REFERENCES grants (id),
    status           text NOT NULL CONSTRAINT connects_status_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'connected', 'failed', 'expired', 'cancelled')),
    reason_code      text,
    platform_error   jsonb,
    timeline         jsonb NOT NULL,
    redirect_url     text,
    redirect_uri     text NOT NULL,
    scopes           text[] NOT NULL,
    metadata         jsonb NOT NULL DEFAULT '{}',
    state_hash       bytea NOT NULL CONSTRAINT connects_state_hash_key UNIQUE,
    sealed_verifier  bytea,
    sealed_code      bytea,
    page_hash        bytea,
    account_ids      text[] NOT NULL DEFAULT '{}',
    lease_until      timestamptz,
    status_at        timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT connects_secrets_check
        CHECK (status IN ('pending', 'authorized', 'exchanging') OR (sealed_verifier IS NULL AND sealed_code IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX connects_open_idx ON connects (status, status_at) WHERE status IN ('pending', 'authorized', 'exchanging');
CREATE INDEX connects_open_of_workspace_idx ON connects (workspace_id) WHERE status IN ('pending', 'authorized', 'exchanging');
CREATE INDEX connects_workspace_id_idx ON connects (workspace_id, id);
COMMENT ON TABLE connects IS 'One attempt to connect an account, from the authorize URL to its end.';
COMMENT ON COLUMN connects.timeline IS 'Each status with the moment it was reached, oldest first.';
COMMENT ON COLUMN connects.account_id IS 'The account that this connect is to reconnect, if one was named.';
COMMENT ON COLUMN connects.redirect_url IS 'Where the application wants the browser back.';
COMMENT ON COLUMN connects.redirect_uri IS 'The redirect URI sent to the platform; the exchange must repeat it to the letter.';
COMMENT ON COLUMN connects.page_hash IS 'SHA-256 of the cookie that may see this connect''s page.';
COMMENT ON COLUMN connects.lease_until IS 'Until when the worker that presents the code may still be waiting for its answer.';
