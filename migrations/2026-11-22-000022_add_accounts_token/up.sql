ALTER TABLE accounts
    ADD COLUMN sealed_token bytea,
    ADD COLUMN next_check_at timestamptz,
    ADD COLUMN check_failures integer NOT NULL DEFAULT 0;
CREATE INDEX accounts_check_idx ON accounts (next_check_at) WHERE status = 'connected' AND next_check_at IS NOT NULL;
COMMENT ON COLUMN accounts.sealed_token IS 'The account''s own access token, where a platform gives one (a Facebook page): it does not end with the grant''s.';
COMMENT ON COLUMN accounts.next_check_at IS 'When the platform is asked next whether that token still works; moved ahead by each dispatch.';
COMMENT ON COLUMN accounts.check_failures IS 'Checks in a row that brought no answer.';
