ALTER TABLE outbox ADD COLUMN organisation_id text;
COMMENT ON COLUMN outbox.organisation_id IS 'Whose event or reply it is: it waits for queues of this organisation''s making, and takes up this organisation''s room. Commands have none.';
CREATE INDEX outbox_organisation_idx ON outbox (organisation_id) WHERE done_at IS NULL AND organisation_id IS NOT NULL;
