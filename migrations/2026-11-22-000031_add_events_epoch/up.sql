CREATE TABLE event_epochs (
    epoch      integer CONSTRAINT event_epochs_pkey PRIMARY KEY,
    cluster    text NOT NULL,
    started_at timestamptz NOT NULL
);
COMMENT ON TABLE event_epochs IS 'Transaction ids order the event log, and begin anew or fall back when the database is restored: each restoration begins an epoch.';
COMMENT ON COLUMN event_epochs.cluster IS 'The server''s system identifier and timeline: another one after a dump was restored or a backup was rolled forward.';
INSERT INTO event_epochs (epoch, cluster, started_at)
SELECT 0, s.system_identifier || '/' || c.timeline_id, now() FROM pg_control_system() s, pg_control_checkpoint() c;

ALTER TABLE events ADD COLUMN epoch integer NOT NULL DEFAULT 0;
ALTER TABLE events ALTER COLUMN workspace_id DROP NOT NULL;
COMMENT ON COLUMN events.workspace_id IS 'Null: it happened to the organisation.';
COMMENT ON COLUMN events.xid IS 'The transaction that wrote the event. Readers take only events below the oldest transaction still running, in order (epoch, xid, id), so that a late commit is never skipped.';
DROP INDEX events_log_idx;
CREATE INDEX events_log_idx ON events (organisation_id, epoch, xid, id);
