CREATE TABLE grants (
    id                 text COLLATE "C" CONSTRAINT grants_pkey PRIMARY KEY,
    workspace_id       text COLLATE "C" NOT NULL CONSTRAINT grants_workspace_id_fkey REFERENCES workspaces (id),
    platform           text NOT NULL,
    app_id             text COLLATE "C" CONSTRAINT grants_app_id_fkey REFERENCES apps (id),
    status             text NOT NULL CONSTRAINT grants_status_check
        CHECK (status IN ('pending', 'active', 'expired', 'releasing', 'revoked', 'superseded')),
    generation         bigint NOT NULL DEFAULT 0,
    sealed_tokens      bytea,
    renewable          boolean NOT NULL,
    scopes             text[] NOT NULL DEFAULT '{}',
    holder_hash        bytea,
    issued_at          timestamptz NOT NULL,
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    refresh_at         timestamptz,
    next_attempt_at    timestamptz,
    attempts           integer NOT NULL DEFAULT 0,
    dispatches         integer NOT NULL DEFAULT 0,
    lease_holder       text,
    lease_until        timestamptz,
    calling_generation bigint,
    in_doubt_since     timestamptz,
    overdue_since      timestamptz,
    last_refreshed_at  timestamptz,
    last_error_code    text,
    last_error_at      timestamptz,
    end_reason         text,
    released_at        timestamptz,
    revocation_sent_at timestamptz,
    created_at         timestamptz NOT NULL,
    CONSTRAINT grants_tokens_check CHECK (sealed_tokens IS NOT NULL OR status IN ('revoked', 'superseded'))
) WITH (fillfactor = 80);
CREATE INDEX grants_due_idx ON grants (next_attempt_at) WHERE status = 'active' AND next_attempt_at IS NOT NULL;
CREATE INDEX grants_ending_idx ON grants ((CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END)) WHERE status = 'active';
CREATE INDEX grants_holder_hash_idx ON grants (holder_hash) WHERE holder_hash IS NOT NULL AND status IN ('pending', 'active', 'expired', 'releasing');
CREATE INDEX grants_workspace_id_idx ON grants (workspace_id, id);
COMMENT ON TABLE grants IS 'What a platform gave us for one consent: one token set. A grant backs one or many accounts.';
COMMENT ON COLUMN grants.app_id IS 'The customer''s own app; null: the installation''s, from the platforms file.';
COMMENT ON COLUMN grants.generation IS 'Counts token sets. Whoever holds an answer to generation g may store it as g + 1 while g is current; the seal is bound to it.';
COMMENT ON COLUMN grants.renewable IS 'Whether the sealed tokens hold a refresh token.';
COMMENT ON COLUMN grants.holder_hash IS 'Keyed hash of app and platform user id: finds other grants of the same person without naming the person.';
COMMENT ON COLUMN grants.refresh_at IS 'When the next refresh is due, by policy or after a failure.';
COMMENT ON COLUMN grants.next_attempt_at IS 'When the planner may dispatch: refresh_at at first, moved ahead by each dispatch and by a lease.';
COMMENT ON COLUMN grants.dispatches IS 'Dispatches since a handler last took the grant: each doubles the wait for a message that may be lost.';
COMMENT ON COLUMN grants.lease_until IS 'Until when lease_holder alone may call the platform for this grant. It says who may call, never who may store.';
COMMENT ON COLUMN grants.calling_generation IS 'Intent, committed before the call: the generation whose token was presented. Equal to generation with a lease that ended: in doubt.';
COMMENT ON COLUMN grants.in_doubt_since IS 'Since when nobody knows whether the platform spent the current refresh token.';
