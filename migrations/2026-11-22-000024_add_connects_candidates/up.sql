ALTER TABLE connects
    ADD COLUMN sealed_candidates bytea,
    ADD COLUMN selection text[],
    DROP CONSTRAINT connects_status_check,
    ADD CONSTRAINT connects_status_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'selecting', 'connected', 'failed', 'expired', 'cancelled')),
    DROP CONSTRAINT connects_secrets_check,
    ADD CONSTRAINT connects_secrets_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'selecting')
               OR (sealed_verifier IS NULL AND sealed_code IS NULL AND sealed_candidates IS NULL));
DROP INDEX connects_open_idx;
DROP INDEX connects_open_of_workspace_idx;
CREATE INDEX connects_open_idx ON connects (status, status_at) WHERE status IN ('pending', 'authorized', 'exchanging', 'selecting');
CREATE INDEX connects_open_of_workspace_idx ON connects (workspace_id) WHERE status IN ('pending', 'authorized', 'exchanging', 'selecting');
COMMENT ON COLUMN connects.sealed_candidates IS 'What the person may choose from, with the tokens that came with it.';
COMMENT ON COLUMN connects.selection IS 'The candidates that were chosen; set once.';
COMMENT ON COLUMN connects.sealed_code IS 'The code, or the app password: presented once, and wiped when that call has ended.';
