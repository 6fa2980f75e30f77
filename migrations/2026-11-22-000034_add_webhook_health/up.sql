ALTER TABLE webhook_endpoints
    ADD COLUMN secret_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN sealed_old_secret bytea,
    ADD COLUMN old_secret_until timestamptz,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN pace text NOT NULL DEFAULT 'prompt'
        CONSTRAINT webhook_endpoints_pace_check CHECK (pace IN ('prompt', 'slow', 'silent')),
    ADD CONSTRAINT webhook_endpoints_old_secret_check CHECK ((sealed_old_secret IS NULL) = (old_secret_until IS NULL));
COMMENT ON COLUMN webhook_endpoints.secret_generation IS 'Counts rotations. The secret''s seal is bound to it; that of the old secret to the one before.';
COMMENT ON COLUMN webhook_endpoints.failing_since IS 'When the first of its failures was, since it last took anything.';
COMMENT ON COLUMN webhook_endpoints.pace IS 'How long its last answer took: of those that are slow or silent fewer attempts are open at once.';

ALTER TABLE webhook_deliveries
    ADD COLUMN body jsonb,
    ADD COLUMN round_start integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN webhook_deliveries.body IS 'What is sent, if it is no event of the log: a test.';
COMMENT ON COLUMN webhook_deliveries.round_start IS 'How many attempts there had been when it was last put on the schedule from its beginning.';

-- Each endpoint's own queue. What is due over all of them is no question any more: the endpoint with the
-- longest queue would be the answer.
CREATE INDEX webhook_deliveries_queue_idx ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending';
DROP INDEX webhook_deliveries_due_idx;
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (endpoint_id) WHERE attempt_until IS NOT NULL;
CREATE INDEX webhook_deliveries_log_idx ON webhook_deliveries (endpoint_id, id);
