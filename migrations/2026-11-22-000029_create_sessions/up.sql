CREATE TABLE sessions (
    hash            bytea CONSTRAINT sessions_pkey PRIMARY KEY,
    organisation_id text COLLATE "C" NOT NULL CONSTRAINT sessions_organisation_id_fkey REFERENCES organisations (id),
    api_key_id      text COLLATE "C" NOT NULL CONSTRAINT sessions_api_key_id_fkey REFERENCES api_keys (id),
    expires_at      timestamptz NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX sessions_api_key_id_idx ON sessions (api_key_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
CREATE INDEX sessions_organisation_id_idx ON sessions (organisation_id);
COMMENT ON TABLE sessions IS 'Browsers that signed in with an API key. A session may do what its key may, for as long as the key is not revoked.';
COMMENT ON COLUMN sessions.hash IS 'SHA-256 of the session''s cookie.';
