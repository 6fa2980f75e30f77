-- Of all grants of a person, whatever became of them, and which of them the platform was told of last.
CREATE INDEX grants_holder_idx ON grants (holder_hash, revocation_sent_at) WHERE holder_hash IS NOT NULL;
DROP INDEX grants_holder_hash_idx;

-- Few grants have an end that nothing can move.
CREATE INDEX grants_end_idx ON grants ((CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END))
    WHERE status = 'active' AND CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END IS NOT NULL;
DROP INDEX grants_ending_idx;

-- What waits has a next attempt. Statements on one delivery by its id say `status`, and so cannot be planned by this index,
-- which holds few rows when the statistics are made and many after an outage.
CREATE INDEX webhook_deliveries_waiting_idx ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
DROP INDEX webhook_deliveries_queue_idx;

-- Whoever deletes an endpoint does not wait until all its deliveries are gone: a sweep ends those that wait, and all are pruned.
ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_endpoint_id_fkey;

-- Of a workspace that is emptied: the grants that are left.
CREATE INDEX grants_living_idx ON grants (workspace_id) WHERE status IN ('pending', 'active', 'expired', 'releasing');
