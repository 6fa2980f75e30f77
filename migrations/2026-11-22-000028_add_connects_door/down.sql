UPDATE connects SET status = 'failed', reason_code = 'SCHEMA_REVERTED', sealed_verifier = NULL, sealed_code = NULL,
    sealed_candidates = NULL, sealed_state = NULL, sealed_claim = NULL
    WHERE status = 'claiming';
ALTER TABLE connects
    DROP CONSTRAINT connects_secrets_check,
    DROP CONSTRAINT connects_status_check;
DROP INDEX connects_open_idx;
DROP INDEX connects_open_of_workspace_idx;
ALTER TABLE connects
    DROP COLUMN claimed_at, DROP COLUMN sealed_claim, DROP COLUMN sealed_state, DROP COLUMN link_hash,
    DROP COLUMN result_format, DROP COLUMN exclusive, DROP COLUMN binding,
    ADD CONSTRAINT connects_status_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'selecting', 'connected', 'failed', 'expired', 'cancelled')),
    ADD CONSTRAINT connects_secrets_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'selecting')
               OR (sealed_verifier IS NULL AND sealed_code IS NULL AND sealed_candidates IS NULL));
CREATE INDEX connects_open_idx ON connects (status, status_at) WHERE status IN ('pending', 'authorized', 'exchanging', 'selecting');
CREATE INDEX connects_open_of_workspace_idx ON connects (workspace_id) WHERE status IN ('pending', 'authorized', 'exchanging', 'selecting');
