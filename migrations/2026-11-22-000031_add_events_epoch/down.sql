DROP INDEX events_log_idx;
CREATE INDEX events_log_idx ON events (organisation_id, xid, id);
DELETE FROM events WHERE workspace_id IS NULL;
ALTER TABLE events ALTER COLUMN workspace_id SET NOT NULL;
ALTER TABLE events DROP COLUMN epoch;
DROP TABLE event_epochs;
