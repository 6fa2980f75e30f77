CREATE INDEX grants_holder_hash_idx ON grants (holder_hash) WHERE holder_hash IS NOT NULL AND status IN ('pending', 'active', 'expired', 'releasing');
DROP INDEX grants_holder_idx;
CREATE INDEX grants_ending_idx ON grants ((CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END)) WHERE status = 'active';
DROP INDEX grants_end_idx;
CREATE INDEX webhook_deliveries_queue_idx ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending';
DROP INDEX webhook_deliveries_waiting_idx;
DELETE FROM webhook_deliveries d WHERE NOT EXISTS (SELECT FROM webhook_endpoints e WHERE e.id = d.endpoint_id);
ALTER TABLE webhook_deliveries ADD CONSTRAINT webhook_deliveries_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id) ON DELETE CASCADE;
DROP INDEX grants_living_idx;
