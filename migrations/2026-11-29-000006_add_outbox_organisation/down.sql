DROP INDEX outbox_organisation_idx;
ALTER TABLE outbox DROP COLUMN organisation_id;
