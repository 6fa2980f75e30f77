ALTER TABLE connects
    ADD COLUMN binding text NOT NULL DEFAULT 'none'
        CONSTRAINT connects_binding_check CHECK (binding IN ('none', 'browser', 'claim')),
    ADD COLUMN exclusive boolean NOT NULL DEFAULT false,
    ADD COLUMN result_format text NOT NULL DEFAULT 'native'
        CONSTRAINT connects_result_format_check CHECK (result_format IN ('native', 'postpeer', 'woopsocial')),
    ADD COLUMN link_hash bytea CONSTRAINT connects_link_hash_key UNIQUE,
    ADD COLUMN sealed_state bytea,
    ADD COLUMN sealed_claim bytea,
    ADD COLUMN claimed_at timestamptz,
    DROP CONSTRAINT connects_status_check,
    ADD CONSTRAINT connects_status_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming', 'connected', 'failed', 'expired', 'cancelled')),
    DROP CONSTRAINT connects_secrets_check,
    ADD CONSTRAINT connects_secrets_check
        CHECK (status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming')
               OR (sealed_verifier IS NULL AND sealed_code IS NULL AND sealed_candidates IS NULL
                   AND sealed_state IS NULL AND sealed_claim IS NULL));
DROP INDEX connects_open_idx;
DROP INDEX connects_open_of_workspace_idx;
CREATE INDEX connects_open_idx ON connects (status, status_at)
    WHERE status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming');
CREATE INDEX connects_open_of_workspace_idx ON connects (workspace_id)
    WHERE status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming');
COMMENT ON COLUMN connects.binding IS 'Who may finish it: whoever comes back, the browser that pressed the button, or the application''s backend.';
COMMENT ON COLUMN connects.exclusive IS 'Adds an account only where no other of its platform is in use.';
COMMENT ON COLUMN connects.result_format IS 'In whose words the redirect tells the result.';
COMMENT ON COLUMN connects.link_hash IS 'SHA-256 of the link to the connect''s first page. Pressing its button trades the link for a cookie: then page_hash is set.';
COMMENT ON COLUMN connects.sealed_state IS 'The state, for the first page to lead to the platform with.';
COMMENT ON COLUMN connects.sealed_claim IS 'What the redirect carries while a connect is claiming.';
COMMENT ON COLUMN connects.claimed_at IS 'When the application said that the person is who it thought.';
