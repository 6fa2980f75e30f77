DROP INDEX webhook_deliveries_log_idx;
DROP INDEX webhook_deliveries_open_idx;
DROP INDEX webhook_deliveries_queue_idx;
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (next_attempt_at) WHERE status = 'pending';
ALTER TABLE webhook_deliveries
    DROP COLUMN round_start,
    DROP COLUMN body;
ALTER TABLE webhook_endpoints
    DROP CONSTRAINT webhook_endpoints_old_secret_check,
    DROP COLUMN pace,
    DROP COLUMN failing_since,
    DROP COLUMN old_secret_until,
    DROP COLUMN sealed_old_secret,
    DROP COLUMN secret_generation;
