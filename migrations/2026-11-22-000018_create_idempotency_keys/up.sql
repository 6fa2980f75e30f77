CREATE TABLE idempotency_keys (
    organisation_id text COLLATE "C" NOT NULL CONSTRAINT idempotency_keys_organisation_id_fkey REFERENCES organisations (id) ON DELETE CASCADE,
    api_key_id      text COLLATE "C" NOT NULL CONSTRAINT idempotency_keys_api_key_id_fkey REFERENCES api_keys (id) ON DELETE CASCADE,
    key_hash        bytea NOT NULL,
    fingerprint     bytea NOT NULL,
    turn            bigint NOT NULL,
    lease_until     timestamptz NOT NULL,
    sealed_answer   bytea,
    created_at      timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organisation_id, api_key_id, key_hash)
) WITH (fillfactor = 80);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
COMMENT ON TABLE idempotency_keys IS 'POSTs that came with an Idempotency-Key, and the answers that they got, for a day.';
COMMENT ON COLUMN idempotency_keys.key_hash IS 'SHA-256 of the header: people put all sorts of things into it.';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of method, path and body: what the key stands for.';
COMMENT ON COLUMN idempotency_keys.turn IS 'Who may commit: a request whose turn was taken over while it was frozen cannot.';
COMMENT ON COLUMN idempotency_keys.lease_until IS 'Until when the request may be running; after that another may take the next turn.';
COMMENT ON COLUMN idempotency_keys.sealed_answer IS 'Written in the transaction of what the request did, so that one is not without the other.';
