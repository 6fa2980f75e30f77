DROP INDEX connects_open_idx;
DROP INDEX connects_open_of_workspace_idx;
ALTER TABLE connects
    DROP CONSTRAINT connects_secrets_check,
    DROP CONSTRAINT connects_status_check,
    DROP COLUMN sealed_candidates,
    DROP COLUMN selection,
    ADD CONSTRAINT connects_status_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'connected', 'failed', 'expired', 'cancelled')),
    ADD CONSTRAINT connects_secrets_check
        CHECK (status IN ('pending', 'authorized', 'exchanging') OR (sealed_verifier IS NULL AND sealed_code IS NULL));
CREATE INDEX connects_open_idx ON connects (status, status_at) WHERE status IN ('pending', 'authorized', 'exchanging');
CREATE INDEX connects_open_of_workspace_idx ON connects (workspace_id) WHERE status IN ('pending', 'authorized', 'exchanging');
COMMENT ON COLUMN connects.sealed_code IS NULL;
